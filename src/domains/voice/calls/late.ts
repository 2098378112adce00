import type { Context } from '../../../data/context'
import type { EndedReason } from './port'
import type { CallRow } from './table'

/** Why a call is not to be placed any more; null where it may be. */
type OnLate = (ctx: Context, call: CallRow) => Promise<EndedReason | null>

const rules: OnLate[] = []

/** Has `rule` asked of each call that could not be placed when it was to be, before that is tried again. */
export function whereLate(rule: OnLate): void {
  rules.push(rule)
}

/** What waits longer is late: its provider was down, or what drives it was. */
const LATE_MS = 30_000

/** Why a call that comes late is not to be placed any more; null where it may be, or is not late. */
export async function tooLate(ctx: Context, call: CallRow): Promise<EndedReason | null> {
  if (ctx.now - Date.parse(call.created_at) < LATE_MS) return null
  const reasons = await Promise.all(rules.map((rule) => rule(ctx, call)))
  return reasons.find((reason) => reason !== null) ?? null
}
