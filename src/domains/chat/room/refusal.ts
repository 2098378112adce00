import { Problem, problem } from '../../../lib/problem'
import type { Loss } from '../../realtime/rights'

/** Nobody lost a right to what was said before: it is still given. */
export const DELETED: Loss = { code: 4403, reason: 'the chat was deleted' }

/** A refusal on its way out of the object: an exception does not come through with its class and details. */
export type Refusal = Pick<Problem, 'code' | 'message' | 'details' | 'headers'>

export type Answer<T> = { value: T } | { refusal: Refusal }

export const refusalOf = ({ code, message, details, headers }: Problem): Refusal => ({
  code,
  message,
  details,
  headers,
})

/** What `work` answers, or the refusal it threw; a bug stays an exception. */
export async function answering<T>(work: () => T | Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await work() }
  } catch (error) {
    if (error instanceof Problem) return { refusal: refusalOf(error) }
    throw error
  }
}

/** The value, or the refusal thrown as the Problem it was. */
export function resultOf<T>(answer: Answer<T>): T {
  if ('refusal' in answer) throw problemOf(answer.refusal)
  return answer.value
}

export const problemOf = ({ code, message, details, headers }: Refusal): Problem =>
  problem(code, message, { details, headers })
