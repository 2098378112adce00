import { Problem, problem } from '../lib/problem'

/** Another request with the same idempotency key committed first; its answer is this one's too. */
export class IdempotencyRace extends Problem {
  constructor() {
    super('idempotency_in_progress', 'Another request with this key was faster', {
      headers: { 'Retry-After': '1' },
    })
  }
}

/** The refusal that a failed batch's error means; the error itself where it is none. */
export function refusalOf(error: unknown, refusals: Problem[], unique: Record<string, Problem>): unknown {
  const text = messageOf(error)
  // A statement that the tenants’ guard refused is named in its message, with what it asks.
  const guard = text.includes('statement refused: ') ? undefined : /guard:(\d+)/.exec(text)?.[1]
  if (guard !== undefined) return refusals[Number(guard)] ?? error
  const violated = /UNIQUE constraint failed: ([^\n]*)/.exec(text)?.[1]
  if (violated?.startsWith('idempotency_keys.')) return new IdempotencyRace()
  for (const [column, refusal] of Object.entries(unique)) if (violated?.includes(column)) return refusal
  if (text.includes('FOREIGN KEY constraint failed'))
    return problem('conflict', 'What this belongs to was removed meanwhile')
  return error
}

/** D1 puts SQLite's words into the cause of what Drizzle throws. */
function messageOf(error: unknown): string {
  let text = ''
  for (let at: unknown = error; at instanceof Error; at = at.cause) text += `${at.message}\n`
  return text
}
