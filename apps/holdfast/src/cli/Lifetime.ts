// Lengths of time as people type them.

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** `30s`, `15m`, `12h` or `7d`, at most a year; undefined when it is none of these. */
export const secondsOf = (text: string): number | undefined => {
  const [, count = "", unit = ""] = /^([1-9]\d{0,7})([smhd])$/.exec(text) ?? []
  const seconds = Number(count) * (units[unit] ?? 0)
  return seconds > 0 && seconds <= 366 * 86_400 ? seconds : undefined
}
