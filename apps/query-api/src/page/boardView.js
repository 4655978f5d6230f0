// What runs, asked every two seconds of the process that serves this page; when that one does not answer, the page says so itself.
import { boardWords, troubleWords } from "/boardState.js"
import { at, el, setText, show, showList } from "/elements.js"
import { clock } from "/words.js"

const askEveryMs = 2000

/** `onBoard` hears what each process says. */
export const openBoard = ({ desk, onBoard }) => {
  let awaySince = null

  const ask = async () => {
    try {
      const { processes } = await desk.status()
      awaySince = null
      render(processes)
      onBoard(processes)
    } catch (error) {
      awaySince ??= Date.now()
      setText(at("board-words"), `Nobody can tell since ${clock(awaySince, Date.now())}: query-api ${wordsOf(error)}.`)
      at("board-words").dataset.state = "down"
    }
    setTimeout(ask, askEveryMs)
  }
  ask()
}

const wordsOf = ({ message }) => (message.startsWith("answered") ? message : "does not answer")

const render = (processes) => {
  setText(at("board-words"), boardWords(processes))
  at("board-words").dataset.state = processes.every(({ state }) => state === "up") ? "up" : "degraded"
  showList(at("processes"), processes, keyOf, makeItem, update)
}

/** Several copies have one name. */
const keyOf = (process) => process.name

const makeItem = ({ name }) =>
  el(
    "li",
    {},
    el("span", { className: "name", textContent: name }),
    el("span", { className: "state" }),
    el("span", { className: "hint" }),
    el("ul", { className: "trouble" })
  )

const update = (item, process) => {
  const [, state, since, trouble] = item.children
  setText(state, process.state)
  state.dataset.state = process.state
  setText(since, process.since === null ? "" : `since ${clock(process.since, Date.now())}`)
  const sentences = troubleWords(process, (instant) => clock(instant, Date.now()))
  showList(
    trouble,
    sentences,
    (sentence) => sentence,
    (sentence) => el("li", { textContent: sentence }),
    () => {}
  )
  show(trouble, sentences.length > 0)
}
