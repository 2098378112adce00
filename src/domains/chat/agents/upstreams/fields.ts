// Reading values that may be anything.

export type Fields = Record<string, unknown>

/** The fields in which a document may hold its text, in the order in which they are looked for (chat.md). */
const TEXT_FIELDS = ['content', 'output', 'text', 'message', 'response', 'answer', 'choices']

const NESTING = 6

export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {})
export const stringOf = (value: unknown): string | null => (typeof value === 'string' ? value : null)

/** More tokens than any answer takes: what says so has miscounted, and would spoil the sums of usage. */
export const MOST_TOKENS = 1_000_000_000
/** A count of tokens; null for what is none. */
export const tokensOf = (value: unknown): number | null =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= MOST_TOKENS ? Number(value) : null

/** The text in a value: itself, the joined parts of an array, or the first field that holds some; null for none. */
export function textOf(value: unknown, nesting = NESTING): string | null {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  if (nesting === 0) return null
  if (Array.isArray(value)) {
    const parts = value.flatMap((part) => textOf(part, nesting - 1) ?? [])
    return parts.length > 0 || value.length === 0 ? parts.join('') : null
  }
  if (!isFields(value)) return null
  let found: string | null = null
  for (const name of TEXT_FIELDS) {
    found = textOf(value[name], nesting - 1) ?? found
    if (found) return found
  }
  return found
}

/** n8n prints what a node hands over: text as it is, an object as JSON, of which the answer is one field. */
export function itemText(content: unknown, opening: boolean): string | null {
  if (isFields(content)) return textOf(content) ?? JSON.stringify(content)
  const text = textOf(content)
  if (!opening || text === null || !/^\s*\{[\s\S]*\}\s*$/.test(text)) return text
  try {
    return textOf(JSON.parse(text)) ?? text
  } catch {
    return text
  }
}

/** What an error document says of itself; null where it says nothing. */
export function failureMessage(value: unknown): string | null {
  if (typeof value === 'string') return value || null
  if (!isFields(value)) return null
  for (const name of ['error', 'errorText', 'data', 'message', 'content', 'description', 'detail']) {
    const message = failureMessage(value[name])
    if (message) return message
  }
  return null
}
