import { and, eq } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { type Consequence, onIncoming } from '../../webhooks/incoming/heard'
import { fieldOf, memberOf } from '../../webhooks/incoming/message'
import { appliedEach, type CallChange } from '../calls/change'
import type { CallReport } from '../calls/port'
import { type CallRow, calls } from '../calls/table'
import { hasEnded } from '../calls/transition'
import { wakeCalls } from '../calls/wake'
import { HeardCall } from './client'
import { endedCall, isUnanswered, nobodyThere, unanswered } from './report'

// What the providers’ webhooks mean to calls. They come late, twice and in any order; how a call goes on by a report is the
// transition’s matter (calls/transition.ts). What a webhook leaves open is looked at at once.

/** What is to become of a call: a report, what is set besides, or a look at how it stands. */
type Meant = { report?: CallReport; set?: Partial<CallRow> }

/** Has who drives calls look at this one now. */
const lookedAt = (ctx: Context): Meant => ({ set: { next_at: iso(ctx.now) } })

onIncoming('telnyx', async (ctx, { type, value, own }) => {
  const data = memberOf(value, 'data')
  const payload = memberOf(data, 'payload')
  const id = fieldOf(payload, 'call_control_id')
  const meaning = id === null ? undefined : TELNYX[type]
  if (!meaning || id === null) return null
  const call = await callBy(ctx, eq(calls.carrier_call_id, id), own)
  return call && become(ctx, call, meaning(ctx, call, fieldOf(data, 'occurred_at') ?? undefined, payload))
})

type OfTelnyx = (ctx: Context, call: CallRow, at: string | undefined, payload: unknown) => Meant

/** developers.telnyx.com, “Voice API webhooks”; the others say nothing that a call’s state depends on. */
const TELNYX: Record<string, OfTelnyx | undefined> = {
  'call.initiated': () => ({ report: { status: 'ringing' } }),
  'call.answered': (_ctx, _call, at) => ({ report: { status: 'in_progress', ...startedAt(at) } }),
  'call.hangup': (ctx, call, at, payload) => {
    const cause = fieldOf(payload, 'hangup_cause')
    if (call.started_at !== null) return { report: endedCall(null, at, cause) }
    // That it was answered may not have been told yet, where the cause is that of a call which was.
    return isUnanswered(cause) ? { report: unanswered(cause, at) } : lookedAt(ctx)
  },
  // Who was called hears nothing.
  'streaming.failed': (ctx, call, at) => ({
    report: nobodyThere(call.started_at ?? at),
    ...hangingUp(ctx),
  }),
}

const startedAt = (at: string | undefined) => (at === undefined ? {} : { started_at: at })

/** The line is hung up by who drives calls, however often that takes. */
const hangingUp = (ctx: Context): Meant => ({ set: { hang_up: true, next_at: iso(ctx.now) } })

onIncoming('ultravox', async (ctx, { type, value, own }) => {
  const heard = HeardCall.safeParse(value)
  if (!heard.success || (type !== 'call.joined' && type !== 'call.ended')) return null
  const spoken = heard.data.call
  const call = await callBy(ctx, eq(calls.provider_call_id, spoken.callId), own)
  if (!call) return null
  if (type === 'call.joined')
    return become(ctx, call, {
      report: { status: 'in_progress', ...startedAt(spoken.joined ?? undefined) },
    })
  // Nobody came: Telnyx knows why. Else the line is still open where it was the agent who ended the call.
  if (!spoken.joined) return become(ctx, call, lookedAt(ctx))
  return become(ctx, call, { report: endedCall(spoken, spoken.ended ?? undefined), ...hangingUp(ctx) })
})

/** The call that is meant; a tenant’s own account has a say in those alone that its own accounts carry. */
async function callBy(ctx: Context, is: ReturnType<typeof eq>, own: boolean): Promise<CallRow | null> {
  const [row] = await ctx.db
    .select()
    .from(calls)
    .where(and(eq(calls.tenant_id, ctx.tenant.id), is, eq(calls.provider, 'ultravox')))
    .limit(1)
  return row && (!own || row.own === true) ? row : null
}

/** What is to be written; nothing for a call that has ended, which its own driver finishes. */
async function become(ctx: Context, call: CallRow, { report, set }: Meant): Promise<Consequence | null> {
  if (hasEnded(call)) return null
  const change: CallChange = { call, ...(report ? { report } : {}), ...(set ? { set } : {}) }
  const { rows, after, ...written } = await appliedEach(ctx, [change])
  if (rows.length === 0) return null
  return { ...written, after: () => Promise.all([after(), wakeCalls(ctx.env, ctx.tenant.id)]) }
}
