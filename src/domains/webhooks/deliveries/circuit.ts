import { and, eq, ne, sql } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { eventOf } from '../../events/catalogue'
import { adminAddresses } from '../../identity/members/admins'
import { mailStatement } from '../../mail/compose'
import { type EndpointRow, endpoints } from '../endpoints/table'
import type { Report } from './attempt-log'
import { dueToOwner, FAILURES_IN_A_ROW, givenUpAt, type Health, probeWait } from './health'
import { hold, release } from './hold'
import { once, SO_ALREADY } from './once'

// What D1 is told of an endpoint's circuit: that it is degraded, when its next probe is due, that it is active again, that
// it was given up; and what its owner is told of that.

/** Mail of one notice goes to so many of the tenant's admins. */
const MOST_MAILS = 20

type Told = Pick<Report, 'delivery_id' | 'ended_at' | 'response_status' | 'error' | 'verdict'>

/** Tells what an attempt did to the circuit. `health` is as it stands after that attempt. */
export async function reportCircuit(
  ctx: Context,
  endpointId: string,
  one: Told,
  health: Health,
): Promise<void> {
  const rows = await ctx.db
    .select()
    .from(endpoints)
    .where(and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.id, endpointId)))
    .limit(1)
  const row = rows[0]
  const { circuit } = one.verdict
  // Others were under way meanwhile, and one of them may have arrived.
  const failing = health.failures >= FAILURES_IN_A_ROW
  if (row?.status === 'active' && circuit === 'trip' && failing) await degrade(ctx, row, one, health)
  else if (row?.status === 'degraded' && circuit === 'reset') await recover(ctx, row)
  else if (row?.status === 'degraded' && circuit === 'probe') await probedInVain(ctx, row, one, health)
}

/** Sets the endpoint's status where it is `from`; whoever finds it otherwise comes too late. */
function become(ctx: Context, row: EndpointRow, from: EndpointRow['status'], set: Partial<EndpointRow>) {
  const statement = ctx.db
    .update(endpoints)
    .set({ ...set, version: sql`version + 1`, updated_at: iso(ctx.now) })
    .where(and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.id, row.id), eq(endpoints.status, from)))
  return { statement, otherwise: SO_ALREADY }
}

const NOTHING: Change<undefined> = { statements: [], result: undefined }

const audit = (action: string, row: EndpointRow, after: Record<string, unknown>) => ({
  ...{ action, resource: 'endpoint', resource_id: row.id },
  ...{ before: { status: row.status }, after },
})

/** What is pending is held, and one of it goes out as a probe at `not_before`. */
async function degrade(ctx: Context, row: EndpointRow, one: Told, health: Health): Promise<void> {
  const probe = iso(Math.max(one.ended_at + probeWait(0), one.verdict.wait_until ?? 0))
  await once(
    ctx,
    {
      statements: [
        become(ctx, row, 'active', { status: 'degraded', not_before: later(row.not_before, probe) }),
        ...hold(ctx, row.id),
      ],
      audit: audit('endpoint.degrade', row, { status: 'degraded', failures: health.failures }),
      events: [degraded(row, one, health, 0)],
      result: undefined,
    },
    NOTHING,
  )
}

/** It answers again: what was held is due, the oldest first. */
async function recover(ctx: Context, row: EndpointRow): Promise<void> {
  await once(
    ctx,
    {
      statements: [
        become(ctx, row, 'degraded', { status: 'active', not_before: null }),
        ...release(ctx, row.id),
      ],
      audit: audit('endpoint.recover', row, { status: 'active' }),
      result: undefined,
    },
    NOTHING,
  )
}

/** The next probe comes later; and after days of that the owner is told, twice, and then it is given up. */
async function probedInVain(ctx: Context, row: EndpointRow, one: Told, health: Health): Promise<void> {
  const due = dueToOwner(health, one.ended_at)
  if (due === 'disable') {
    const mails = await mailsOf(ctx, row, 'endpoint_given_up')
    const change = disabling(ctx, row, {
      ...{ reason: 'failing', delivery_id: one.delivery_id, at: one.ended_at, statements: mails },
    })
    return once(ctx, change, NOTHING)
  }
  const probe = iso(Math.max(one.ended_at + probeWait(health.probes), one.verdict.wait_until ?? 0))
  const next = ctx.db
    .update(endpoints)
    .set({ not_before: later(row.not_before, probe) })
    .where(
      and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.id, row.id), eq(endpoints.status, 'degraded')),
    )
  const plain = { statements: [next], result: undefined }
  if (due !== 'notice') return commit(ctx, plain)
  const notice = health.notices + 1
  const origin = `notice/${row.id}/${health.failing_since}/${notice}`
  const unheard = sql`not exists (select 1 from events as e
    where e.tenant_id = ${ctx.tenant.id} and e.origin = ${origin})`
  const change = {
    statements: [
      { holds: unheard, otherwise: SO_ALREADY },
      next,
      ...(await mailsOf(ctx, row, 'endpoint_failing')),
    ],
    events: [{ ...degraded(row, one, health, notice), origin }],
    result: undefined,
  }
  await once(ctx, change, plain)
}

const later = (one: string | null, other: string) => (one !== null && one > other ? one : other)

function degraded(row: EndpointRow, one: Told, health: Health, notice: number) {
  const told = notice === 0 ? health : { ...health, notices: notice, noticed_at: one.ended_at }
  return eventOf('endpoint.degraded', {
    ...{ endpoint_id: row.id, uid: row.uid, description: row.description },
    ...{ failures: health.failures, failing_since: iso(health.failing_since ?? one.ended_at), notice },
    disabled_at: iso(givenUpAt(told, one.ended_at)),
    ...{ response_status: one.response_status, error: one.error },
  })
}

/** Why an endpoint is disabled, by which attempt, and what else belongs into the batch. */
type Disabling = {
  reason: 'gone' | 'asked' | 'failing'
  delivery_id: string
  at: number
  statements: Change<undefined>['statements']
}

/** The change that disables an endpoint, once; what is under way for it is held until a person has set it right. */
export function disabling(ctx: Context, row: EndpointRow, why: Disabling): Change<undefined> {
  const disable = ctx.db
    .update(endpoints)
    .set({ status: 'disabled', version: sql`version + 1`, updated_at: iso(ctx.now) })
    .where(
      and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.id, row.id), ne(endpoints.status, 'disabled')),
    )
  const disabled = eventOf('endpoint.disabled', {
    ...{ endpoint_id: row.id, uid: row.uid, description: row.description },
    ...{ reason: why.reason, delivery_id: why.delivery_id, disabled_at: iso(why.at) },
  })
  return {
    statements: [{ statement: disable, otherwise: SO_ALREADY }, ...why.statements, ...hold(ctx, row.id)],
    audit: audit('endpoint.disable', row, { status: 'disabled', reason: why.reason }),
    events: [disabled],
    result: undefined,
  }
}

/** Mail to the tenant's admins; it names the endpoint by its address. */
async function mailsOf(ctx: Context, row: EndpointRow, template: 'endpoint_failing' | 'endpoint_given_up') {
  const admins = await adminAddresses(ctx, MOST_MAILS)
  const link = `${ctx.settings.PUBLIC_URL}/`
  return admins.map((email) => mailStatement(ctx, email, template, link, new URL(row.url).host))
}
