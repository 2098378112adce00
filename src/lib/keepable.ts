import { type FieldErrors, Problem, problem } from './problem'

/** Deeper than any form that is filled in, and far from where a recursive reader runs out of stack. */
const MOST_NESTED = 100

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

/** Refuses JSON that can't be read, or can't be kept as it was sent: 422 with the members by path. */
export function refuseUnusable(json: string): void {
  refuseDeepNesting(json)
  const fields = unkeepable(json)
  if (fields) throw problem.invalid(fields)
}

/** What a field says that is JSON by itself; 422 by its name, and that of the member. */
export function jsonOfField(field: string, text: string): unknown {
  try {
    refuseUnusable(text)
    return JSON.parse(text)
  } catch (error) {
    if (!(error instanceof Problem)) throw problem.invalid({ [field]: 'is not valid JSON' })
    const within = Object.entries(error.details.fields as FieldErrors)
    throw problem.invalid(
      Object.fromEntries(within.map(([path, why]) => [path === 'body' ? field : `${field}.${path}`, why])),
    )
  }
}

/**
 * Wrong fields as one of many answers tells them: a schema makes an object of them, which can't have a member called
 * __proto__. What is said of the whole is told of `whole`.
 */
export const tellable = (fields: FieldErrors, whole: string): FieldErrors =>
  Object.fromEntries(
    Object.entries(fields).map(([path, why]) => {
      if (path === '__proto__') return [whole, 'must have no member called __proto__']
      return [path === 'body' ? whole : path, why]
    }),
  )

/** Refuses JSON that is nested deeper than what reads it can follow. */
export function refuseDeepNesting(json: string): void {
  let depth = 0
  let quoted = false
  for (let i = 0; i < json.length; i++) {
    const char = json.charCodeAt(i)
    if (char === 0x5c) i += quoted ? 1 : 0
    else if (char === 0x22) quoted = !quoted
    else if (quoted) continue
    else if (char === 0x5b || char === 0x7b) {
      depth += 1
      if (depth > MOST_NESTED)
        throw problem.invalid({ body: `must be nested at most ${MOST_NESTED} levels deep` })
    } else if (char === 0x5d || char === 0x7d) depth -= 1
  }
}
