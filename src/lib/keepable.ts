import type { FieldErrors } from './problem'

/**
 * Whether a JSON text may hold what can't be kept as it was sent: escapes of surrogates or of the letters of __proto__,
 * that name itself, numbers of many digits. Only such a text is walked.
 */
const SUSPECT = /\\u(?:d[89a-f]|00[567])|__proto__|\de\+?\d{3}|\d{40}/i

/**
 * The members of a JSON text that would be kept otherwise than they were sent, by path: half of a surrogate pair becomes
 * another character in UTF-8, a number beyond a double becomes null, and an object can't have a member called __proto__.
 * Null where there are none, or where the text is no JSON.
 */
export function unkeepable(json: string): FieldErrors | null {
  if (!SUSPECT.test(json)) return null
  const fields: FieldErrors = Object.create(null)
  try {
    walk(JSON.parse(json), '', fields)
  } catch {
    return null
  }
  return Object.keys(fields).length > 0 ? fields : null
}

function walk(value: unknown, path: string, fields: FieldErrors): void {
  const refuse = (why: string) => {
    fields[path || 'body'] = why
  }
  if (typeof value === 'string' && !value.isWellFormed()) refuse('must be whole characters (Unicode)')
  if (typeof value === 'number' && !Number.isFinite(value)) refuse('must be a number within ±1.8e308')
  if (typeof value !== 'object' || value === null) return
  for (const [name, member] of Object.entries(value)) {
    const at = path === '' ? name : `${path}.${name}`
    if (name === '__proto__') fields[at] = 'must have another name'
    else if (!name.isWellFormed())
      fields[at.toWellFormed()] = 'must have a name of whole characters (Unicode)'
    else walk(member, at, fields)
  }
}
