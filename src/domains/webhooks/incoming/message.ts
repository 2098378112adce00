import { problem } from '../../../lib/problem'

/** A body as an event carries it: its JSON text, as it came where it is JSON, and what that says. */
export type Message = { text: string; value: unknown }

/** As deep as any event may be (http/body.ts): what reads them later is recursive. */
const MOST_NESTED = 100

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/** Reads a body that was verified: JSON, a form (as an object of its fields), or text. 400 where it is none of these. */
export function messageOf(body: Uint8Array, contentType: string, isJson: boolean): Message {
  const text = decoded(body)
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(contentType)
  const message = isForm
    ? fromForm(text)
    : fromText(text, isJson || /^application\/(?:[\w.-]+\+)?json\b/i.test(contentType))
  if (isTooDeep(message.value))
    throw problem.invalid({ body: `must be nested at most ${MOST_NESTED} levels deep` })
  return message
}

function decoded(body: Uint8Array): string {
  try {
    return decoder.decode(body)
  } catch {
    throw problem('malformed_body', 'The body is not UTF-8')
  }
}

/** Slack and GitHub put JSON into a form's field of that name. */
function fromForm(text: string): Message {
  const fields = formFields(text)
  const [payload, ...others] = fields.get('payload') ?? []
  if (payload !== undefined && fields.size === 1 && others.length === 0) return fromText(payload, false)
  const value = Object.fromEntries([...fields].map(([name, all]) => [name, all.length > 1 ? all : all[0]]))
  return { text: JSON.stringify(value), value }
}

/** The values of a form's fields by name, in their order. A body holds so many that none may be searched for. */
export function formFields(form: string): Map<string, string[]> {
  const fields = new Map<string, string[]>()
  for (const [name, value] of new URLSearchParams(form)) {
    const all = fields.get(name)
    if (all) all.push(value)
    else fields.set(name, [value])
  }
  return fields
}

function fromText(text: string, mustBeJson: boolean): Message {
  try {
    return { text: text.trim(), value: JSON.parse(text) }
  } catch (cause) {
    if (mustBeJson) throw problem('malformed_json', 'The body is not valid JSON', { cause })
    return { text: JSON.stringify(text), value: text }
  }
}

function isTooDeep(value: unknown): boolean {
  let level = [value]
  for (let depth = 0; level.length > 0; depth++) {
    level = level.flatMap((one) => (typeof one === 'object' && one !== null ? Object.values(one) : []))
    if (depth >= MOST_NESTED && level.length > 0) return true
  }
  return false
}

/** A member of an object, own or none. */
export function memberOf(value: unknown, name: string): unknown {
  const isObject = typeof value === 'object' && value !== null
  return isObject && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
}

/** The same where it is a text that says something, of at most 255 characters. */
export function fieldOf(value: unknown, name: string): string | null {
  const member = memberOf(value, name)
  return typeof member === 'string' && member !== '' && member.length <= 255 ? member : null
}

/** A sender's type as the end of an event's: `orders/create` is `orders.create`; what can't stand in one is `_`. */
export function typeWords(type: string): string {
  const words = type.split(/[./:\s]+/).map((word) => word.replace(/[^A-Za-z0-9_-]+/g, '_'))
  const joined = words.filter((word) => word !== '').join('.')
  return joined.slice(0, 100).replace(/\.$/, '') || 'received'
}
