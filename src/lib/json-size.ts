const MOST_DEPTH = 32

/** Characters of a value as JSON; infinitely many where it is nested too deep to be looked through. */
export function sizeOf(value: unknown): number {
  const deeper = (all: unknown[]) =>
    all.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []))
  let level: unknown[] = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MOST_DEPTH) return Number.POSITIVE_INFINITY
    level = deeper(level)
  }
  return JSON.stringify(value)?.length ?? 0
}
