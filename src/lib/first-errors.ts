/** Of what is refused of many, so many are named, and no more than these characters say. */
const MOST_ERRORS = 1_000
const MOST_TEXT = 256 * 1024

/** The first errors of a bulk, as many as an answer has room for; one in any case. */
export function firstErrors<T>(errors: readonly T[]): T[] {
  const named: T[] = []
  let length = 0
  for (const error of errors) {
    length += JSON.stringify(error).length
    if (named.length === MOST_ERRORS || (named.length > 0 && length > MOST_TEXT)) break
    named.push(error)
  }
  return named
}
