/**
 * Whether an object anywhere in `json`, which must be JSON, names a member twice: readers differ on which of the two
 * counts (RFC 8259, section 4), and `JSON.parse` keeps the last without a word.
 */
export function hasDoubledMembers(json: string): boolean {
  // The names of each object that is open; null stands for an array.
  const open: (Set<string> | null)[] = []
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g
  let text: string | null = null
  for (const [token] of json.matchAll(tokens)) {
    if (token === '{') open.push(new Set())
    else if (token === '[') open.push(null)
    else if (token === '}' || token === ']') open.pop()
    else if (token !== ':') text = token
    else if (text !== null) {
      const names = open.at(-1)
      const name = JSON.parse(text) as string
      if (names?.has(name)) return true
      names?.add(name)
    }
  }
  return false
}
