// A word says of itself which it is and when it was written, so that whoever reads it, in whichever process, knows how
// late it is and whether one is missing.

/** Microseconds by the clock that all processes of a machine share. */
export const microseconds = (): number => Number(process.hrtime.bigint() / 1000n)

/** The `n`th word of what `tag` names: letters, no digit. */
export const wordOf = (tag: string, n: number): string => `${tag}${n}@${microseconds()} `

/** Finds such words. */
export const wordsOf = (tag: string): RegExp => new RegExp(`${tag}(\\d+)@(\\d+) `, 'g')

/** A tag that was not used before. */
export const freshTag = (): string => {
  uses += 1
  return `r${[...uses.toString(8)].map((digit) => 'abcdefgh'[Number(digit)]).join('')}w`
}
let uses = 0

export const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Calls `work` for 0, 1, 2, … every so many milliseconds, late ones without waiting, until there were `count`. */
export async function every(ms: number, count: number, work: (n: number) => void): Promise<void> {
  const start = performance.now()
  for (let n = 0; n < count; n += 1) {
    const wait = start + n * ms - performance.now()
    if (wait > 0) await sleep(wait)
    work(n)
  }
}
