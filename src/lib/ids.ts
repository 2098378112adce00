// RFC 9562 UUIDs. Version 7 carries the time, so ids sort by creation and sit side by side in an index.

const UUID =
  /^(?:[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|0{8}(?:-0{4}){3}-0{12}|f{8}(?:-f{4}){3}-f{12})$/

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

let lastMs = 0
let counter = 0
/** How far ids may run ahead of `now` to go on ascending: further, and they would tell a time that is not theirs. */
const MOST_AHEAD_MS = 1_000

/**
 * A UUIDv7 for `now` (milliseconds); within one isolate ids still ascend where several share a millisecond, or one piece
 * of work began a little before another (RFC 9562, 6.2 method 1).
 */
export function newId(now: number): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  if (now > lastMs || lastMs - now > MOST_AHEAD_MS) {
    lastMs = now
    counter = ((bytes[6] as number) & 0x07) * 256 + (bytes[7] as number)
  } else {
    counter += 1
    if (counter > 0xfff) {
      counter = 0
      lastMs += 1
    }
  }
  let ms = lastMs
  for (let i = 5; i >= 0; i--) {
    bytes[i] = ms % 256
    ms = Math.floor(ms / 256)
  }
  bytes[6] = 0x70 | (counter >> 8)
  bytes[7] = counter & 0xff
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f)
  let out = ''
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) out += '-'
    out += HEX[bytes[i] as number]
  }
  return out
}

/** Whether `value` is a well-formed RFC 9562 UUID in lower case, the nil and the max UUID among them. */
export function isUuid(value: string): boolean {
  return UUID.test(value)
}

/** The smallest UUIDv7 of a millisecond: rows made at or after `ms` have an id that is not below it. */
export function firstIdAt(ms: number): string {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, '0').slice(-12)
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`
}

/** ISO 8601 in UTC with milliseconds, the one form of a time in JSON and in D1. */
export function iso(ms: number): string {
  if (ms !== printed.ms) printed = { ms, text: new Date(ms).toISOString() }
  return printed.text
}

/** The last one: a request prints its time several times. */
let printed = { ms: 0, text: '1970-01-01T00:00:00.000Z' }
