// The name under which a download is to be stored, in a header that every client reads alike (RFC 6266, RFC 8187). A name comes from whoever
// uploaded the file, so it is made harmless first: no path, nothing that turns the reading direction around, nothing that hides a file or
// that a system keeps for itself.
export const contentDisposition = (kind: "inline" | "attachment", name: string): string => {
  const safe = harmless(name)
  const plain = safe.replace(/[^\x20-\x7e]/g, "_").replace(/["\\%]/g, "_")
  return `${kind}; filename="${plain}"; filename*=UTF-8''${encoded(safe)}`
}

/** Marks that embed, override or isolate a direction: `exe.jpg` would be read where `gpj.exe` is stored. */
const directions = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g
// biome-ignore lint/suspicious/noControlCharactersInRegex: the point is to replace them
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g
/** Names of devices on some systems, whatever comes after the first dot. */
const device = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(?=\.|$)/i
const lengthMax = 200

const harmless = (name: string): string => {
  const clean = name
    .toWellFormed()
    .replace(directions, "")
    .replace(controls, "_")
    .replace(/[/\\:]/g, "_")
    .replace(/^[\s.]+|[\s.]+$/gu, "")
    .replace(device, "_$1")
  return shortened(clean === "" ? "download" : clean)
}

/** Keeps the ending, which tells what the file is opened with. By characters, so that none is cut in two. */
const shortened = (name: string): string => {
  const characters = [...name]
  if (characters.length <= lengthMax) return name
  const [ending = ""] = /\.[^.]{1,16}$/u.exec(name) ?? []
  return characters.slice(0, lengthMax - [...ending].length).join("") + ending
}

/** `encodeURIComponent` leaves four characters as they are that are not allowed here. */
const encoded = (name: string): string =>
  encodeURIComponent(name).replace(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
