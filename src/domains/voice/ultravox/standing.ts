import type { Context } from '../../../data/context'
import type { Asking } from '../answer'
import type { CallReport } from '../calls/port'
import type { CallRow } from '../calls/table'
import { hasEnded } from '../calls/transition'
import { type CallEvent, type CarriedCall, eventsOf, hangUp, statusOf } from '../telnyx/client'
import { accountsOf, areGone } from './accounts'
import { getCall, messagesOf, type UltravoxCall } from './client'
import { answeredIn, causeIn, endedCall, isOver, nobodyThere, turnsOf, unanswered } from './report'

/** Who was answered and is not heard by Ultravox after so long talks to nobody. */
const SILENT_MS = 20_000
/** Who listens to a call is to read along: nobody tells what is said but who is asked. */
const LISTENING_LOOK_MS = 3_000

const UNTOLD_LOOK_MS = 5_000

type Seen = { carried: CarriedCall | null; spoken: UltravoxCall | null; events: CallEvent[] }

/** How a call stands at both; null where neither knows it (any more). */
export async function look(ctx: Context, call: CallRow): Promise<CallReport | null> {
  if (await areGone(ctx, call)) return null
  const { ultravox, telnyx } = await accountsOf(ctx, call)
  const { provider_call_id, carrier_call_id } = call
  const [carried, known] = await Promise.all([
    carrier_call_id === null ? null : statusOf(telnyx, carrier_call_id),
    provider_call_id === null ? null : spokenAt(ultravox, provider_call_id),
  ])
  if (!carried && !known) return null
  const spoken = known?.spoken ?? null
  const silent = carried !== null && !spoken?.joined
  const events = silent ? await eventsOf(telnyx, carried.call_leg_id) : []
  const report = { ...untold(telnyx), ...reportOf(call, { carried, spoken, events }) }
  // An agent that hangs up leaves the line open: who was called would go on hearing nothing, and it would cost.
  if (isEnd(report) && !isOver(carried) && !hasEnded(call)) await end(ctx, call)
  return { ...report, turns: known ? turnsOf(known.spoken, known.messages) : [] }
}

/** An account whose webhooks do not come here is asked the more often. */
export const untold = ({ ctx, account }: Asking): CallReport =>
  account.own || ctx.settings.TELNYX_PUBLIC_KEY.length === 0 ? { look_in_ms: UNTOLD_LOOK_MS } : {}

async function spokenAt(at: Asking, id: string) {
  const spoken = await getCall(at, id)
  return spoken && { spoken, messages: spoken.joined ? await messagesOf(at, id) : [] }
}

function reportOf(call: CallRow, { carried, spoken, events }: Seen): CallReport {
  const joined = spoken?.joined ?? null
  const answered = joined ?? answeredIn(events) ?? call.started_at
  if (isOver(carried)) {
    if (answered === null) return unanswered(causeIn(events), carried.end_time)
    return { started_at: answered, ...endedCall(spoken, carried.end_time) }
  }
  // What Ultravox ended, or who never came to it, is over, whatever the line.
  if (spoken?.ended && joined) return endedCall(spoken, spoken.ended)
  if (spoken?.ended && answered === null)
    return carried ? unanswered('no_answer', spoken.ended) : unanswered(null, spoken.ended)
  if (joined)
    return {
      ...{ status: 'in_progress', started_at: joined },
      ...(call.watched ? { look_in_ms: LISTENING_LOOK_MS } : {}),
    }
  if (answered === null) return { status: 'ringing' }
  return Date.parse(answered) + SILENT_MS > Date.now()
    ? { status: 'in_progress', started_at: answered, look_in_ms: SILENT_MS }
    : nobodyThere(answered)
}

const isEnd = ({ status }: CallReport) =>
  status === 'completed' || status === 'failed' || status === 'no_answer'

/** Hangs up; harmless where the call has ended. Ultravox hears of it by the line that closes. */
export async function end(ctx: Context, call: CallRow): Promise<void> {
  if (call.carrier_call_id === null || (await areGone(ctx, call))) return
  const { telnyx } = await accountsOf(ctx, call)
  await hangUp(telnyx, call.carrier_call_id)
}
