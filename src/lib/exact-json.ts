/** JSON's functions that TypeScript does not know yet (ECMAScript's JSON.parse source text access). */
type Sourced = {
  parse: (
    text: string,
    revive: (name: string, value: unknown, context: { source?: string }) => unknown,
  ) => unknown
  rawJSON: (text: string) => unknown
}

const sourced: Sourced = JSON as unknown as Sourced

/** Reads JSON for `JSON.stringify` to print again: a number that a double can't hold is printed as it was written. */
export function parseExactly(text: string): unknown {
  return sourced.parse(text, (_, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source
      ? sourced.rawJSON(source)
      : value,
  )
}
