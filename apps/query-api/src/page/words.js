// @ts-check
// How times, sizes and people are told. Pure, but for the reader's own language and time zone.

/** The time alone today, with the day before that. @param {string | number | null} instant @param {number} nowMs */
export const clock = (instant, nowMs) => {
  if (instant === null) return ""
  const date = new Date(instant)
  const isToday = date.toDateString() === new Date(nowMs).toDateString()
  const time = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" })
  return isToday ? time : `${date.toLocaleDateString(undefined, { day: "numeric", month: "short" })}, ${time}`
}

const units = ["B", "KiB", "MiB", "GiB"]

/** @param {number} bytes */
export const size = (bytes) => {
  let amount = bytes
  let unit = 0
  while (amount >= 1024 && unit < units.length - 1) {
    amount /= 1024
    unit++
  }
  return `${unit === 0 || amount >= 10 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`
}

/** @param {{ id: string, name: string | null } | null} someone */
export const person = (someone) => (someone === null ? "nobody" : (someone.name ?? someone.id))

/** @param {string} status */
export const statusWords = (status) => status.replaceAll("_", " ")
