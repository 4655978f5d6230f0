// The page's own few ways to make and change what is shown. Text is only ever set as text. Lists keep the elements of what is still there, so
// neither the reader's focus nor what a screen reader has read is lost when something else changes.

/** @param {string} name @param {Record<string, unknown>} properties `data` and `aria` are objects of their own */
export const el = (name, properties = {}, ...children) => {
  const { aria = {}, data = {}, ...rest } = properties
  const made = document.createElement(name)
  Object.assign(made, rest)
  Object.assign(made.dataset, data)
  for (const [key, value] of Object.entries(aria)) made.setAttribute(`aria-${key}`, value)
  made.append(...children)
  return made
}

export const at = (id) => document.getElementById(id)

/** Changes nothing where nothing changed: a live region would say it again. */
export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text
}

export const show = (element, isShown) => {
  element.hidden = !isShown
}

/** One child of `container` per item, kept by its key; `make` once, `update` each time. */
export const showList = (container, items, keyOf, make, update) => {
  const former = new Map([...container.children].map((child) => [child.dataset.key, child]))
  let place = container.firstElementChild
  for (const item of items) {
    const key = keyOf(item)
    const child = former.get(key) ?? make(item)
    child.dataset.key = key
    update(child, item)
    former.delete(key)
    if (child === place) place = place.nextElementSibling
    else move(container, child, place)
  }
  for (const gone of former.values()) gone.remove()
}

/** Moves without losing focus, where the browser can. */
const move = (container, child, place) => {
  if (child.isConnected && container.moveBefore !== undefined) container.moveBefore(child, place)
  else container.insertBefore(child, place)
}

/** What this tab keeps while it is open; nothing breaks where a browser keeps nothing. */
export const kept = {
  read: (key) => {
    try {
      return sessionStorage.getItem(`holdfast-${key}`)
    } catch {
      return null
    }
  },
  /** False: it could not be kept. */
  write: (key, text) => {
    try {
      if (text === null) sessionStorage.removeItem(`holdfast-${key}`)
      else sessionStorage.setItem(`holdfast-${key}`, text)
      return true
    } catch {
      return false
    }
  }
}
