import { fieldErrors } from '../../../lib/fields'
import { problem } from '../../../lib/problem'
import { Done, Said, SPEECH } from './schema'

/** Whether it says that it is something done: of a type that is not speech. */
const isDone = (value: object): boolean =>
  'type' in value && value.type !== undefined && value.type !== SPEECH

/**
 * What was sent, as something said or something done. Throws 422 with every wrong field; what was said needs its text,
 * unless a recording of it came along.
 */
export function incoming(value: unknown, recorded = false): Said | Done {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw problem.invalid({ body: 'must be an object' })
  const found = (isDone(value) ? Done : Said).safeParse(value)
  const silent = !isDone(value) && !recorded && !has(value, 'text') && !has(value, 'file_id')
  const missing = silent ? { text: 'must be given, or a recording of it' } : {}
  if (!found.success) throw problem.invalid({ ...fieldErrors(found.error.issues), ...missing })
  if (silent) throw problem.invalid(missing)
  return found.data
}

const has = (value: object, name: string): boolean => (value as Record<string, unknown>)[name] !== undefined
