// `wrangler dev` passes every answer through a proxy of its own, which hands on the first 32 bytes of an HTTP chunk by
// themselves, the line with the chunk's length among them. A reader who parses each read by itself, as the simplest
// code does, would then find half a line. In development a comment fills the beginning of an event up to that cut.

const FIRST_READ = 32

let on = false

/** Set once, by whoever knows the settings. */
export function lineUp(development: boolean): void {
  on = development
}

/** An event of `head` (its id line, or nothing) and `data` (its data line and the empty one), as it is written. */
export function lined(head: string, data: string, sizeOf: (text: string) => number): string {
  if (!on) return head + data
  const size = sizeOf(data)
  // The length stands in hex digits and a line end; one more line end keeps clear of the size where both would fit.
  const tail = size === 256 - 28 ? `${data}\n` : data
  const first = FIRST_READ - (size + 28 > 0xff ? 3 : 2) - 2
  const missing = first - head.length
  return missing < 2 ? head + data : `${head}:${' '.repeat(missing - 2)}\n${tail}`
}
