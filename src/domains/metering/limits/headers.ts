import type { LimitFields } from '../../../http/answer-headers'
import { type Problem, problem } from '../../../lib/problem'
import { publicName, type WindowState } from './held-window'
import type { Verdict } from './verdict'

/** What never comes back is asked about again the next day. */
const NEVER_S = 86_400

/** Seconds for a header; a total has no time at which more is left. A day's oldest hour can take longer than a day. */
const seconds = (reset: number): number => (Number.isFinite(reset) ? reset : NEVER_S)

/** What the answer says about the window that binds; undefined where nothing was counted. */
export function limitFields(verdict: Verdict | undefined): LimitFields | undefined {
  const window = verdict?.binding
  return window ? fieldsOf(window) : undefined
}

/** The same of one window. */
export function fieldsOf({ name, limit, remaining, policy, reset: until }: WindowState): LimitFields {
  const reset = seconds(until)
  return { limit, remaining, reset, policy, state: `"${publicName(name)}";r=${remaining};t=${reset}` }
}

const WIDTHS: Record<number, string> = { 60: 'a minute', 3600: 'an hour', 86400: 'a day' }

/** 429 `rate_limited`, naming the window and when to come back. */
export function limitProblem(window: WindowState): Problem {
  const name = publicName(window.name)
  const wait = seconds(window.reset)
  const width = WIDTHS[window.period] ?? 'in all'
  return problem('rate_limited', `The limit ${name} is reached: ${window.limit} ${width}`, {
    headers: { 'Retry-After': String(wait) },
    details: { window: name, limit: window.limit, remaining: 0, retry_after: wait },
  })
}
