// Text whose contrast with what is behind it is below what WCAG 2.2 asks for (4.5, or 3 for large text), computed in the page itself.
export const tooFaint = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true })
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1)
    canvas.fillStyle = color
    canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const light = (color) => {
    const [r, g, b] = color.slice(0, 3).map((byte) => byte / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor)
      if (color[3] === 255) return color
    }
    return [255, 255, 255]
  }
  const ratio = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)
  return [...document.querySelectorAll("body *")].flatMap((element) => {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "")
    if (!hasText || !element.checkVisibility()) return []
    const { color, fontSize } = getComputedStyle(element)
    const found = ratio(light(rgba(color)), light(behind(element)))
    const wanted = parseFloat(fontSize) >= 24 ? 3 : 4.5
    return found >= wanted ? [] : [element.tagName + " " + element.textContent.trim().slice(0, 40) + ": " + found.toFixed(2)]
  })
})()`
