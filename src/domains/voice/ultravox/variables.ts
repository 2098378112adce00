// Names between two pairs of braces in what an agent is told and says, which each call fills in: from its metadata, so that
// an agent can greet a contact by name. Ultravox refuses a call that leaves one out, so one that is not there is empty.

const NAMED = /\{\{\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\}\}/g

/** What our own route is called with from a call, beside what a tenant may name. */
export const CALL_TOKEN = 'causeway_call_token'

/** The names in a text. */
export const variablesIn = (text: string): string[] => [
  ...new Set([...text.matchAll(NAMED)].map(([, name = '']) => name)),
]

/** A text with its names filled in; one that has no value is empty. */
export const filledIn = (text: string, values: Readonly<Record<string, unknown>>): string =>
  text.replace(NAMED, (_, name: string) => valueFor(values, name))

/** The context that fills in these names: objects where a name has dots. */
export function contextFor(
  names: readonly string[],
  values: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const context: Record<string, unknown> = Object.create(null)
  for (const name of names) {
    const path = name.split('.')
    const last = path.pop() ?? name
    let at = context
    for (const part of path) {
      const inner = at[part]
      const next = (typeof inner === 'object' && inner !== null ? inner : Object.create(null)) as typeof at
      at[part] = next
      at = next
    }
    if (typeof at[last] !== 'object') at[last] = valueFor(values, name)
  }
  return context
}

/** As text: what is said aloud, or read by a model. A name with dots is looked for as it is, and then member by member. */
function valueFor(values: Readonly<Record<string, unknown>>, name: string): string {
  const own = (from: unknown, key: string): unknown =>
    typeof from === 'object' && from !== null && Object.hasOwn(from, key)
      ? (from as Record<string, unknown>)[key]
      : undefined
  const value = own(values, name) ?? name.split('.').reduce<unknown>(own, values)
  if (value === undefined || value === null) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
