import { and, asc, eq, gt, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, Tenant } from '../../../data/context'
import { inKvOfTenant } from '../../../data/erasure'
import { bareTenant, systemContext } from '../../../data/system'
import { dropOldChanges } from '../../../data/tell'
import type { Bindings } from '../../../env'
import { firstIdAt } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { events } from '../../events/table'
import { dropOldAttempts } from '../../identity/attempts/service'
import { dropOldChallenges } from '../../identity/mfa/challenge'
import { dropUsedChallenges } from '../../identity/passkeys/login'
import { tendSessions } from '../../identity/sessions/retention'
import { dropOldMailTokens } from '../../identity/users/mail-tokens'
import { dropOldJobs } from '../../jobs/retention'
import { dropOldMails } from '../../mail/service'
import { dropOldKeys } from '../../metering/idempotency/service'
import { dropOldHours } from '../../metering/usage/archive'
import { eachTenant } from '../../tenancy/tenants/service'
import { exhaustHeld } from '../deliveries/expire'
import { deliveries } from '../deliveries/table'
import { senderOf } from '../deliveries/wake'
import { dropExpiredSecrets } from '../endpoints/rotation'
import { dropOldFailures } from '../failures/service'
import { NOBODY } from '../incoming/receive'
import { dropOldIncoming } from '../incoming/received'
import { dropEndedKeys } from '../signing-keys/service'

const DAY_MS = 24 * 3600_000
/** Rows of one statement, and statements of one run; a tenant with more has its turn again a minute later. */
const SLICE = 500
const ROUNDS = 20
/** Objects of endpoints that are called at once. */
const CALLS = 4
/** When it is looked for payloads whose event never came: listing is dear, and they are few. */
const ORPHANS_HOUR = 3

type Deferring = Pick<ExecutionContext, 'waitUntil'>

/** Who has more than one run drops, as a list of tenants' ids. */
const UNDONE = 'retention:undone'

/** Drops what has been kept for as long as was promised, tenant by tenant; one that fails does not stop the others. */
export async function retain(env: Bindings, execution: Deferring, now: number): Promise<void> {
  await retainTenants(env, execution, now, () => true)
  // What providers sent of nobody, and what they were refused.
  const nobody = systemContext(env, bareTenant(NOBODY), 'retention', (work) => execution.waitUntil(work))
  await apart(() => dropOldIncoming({ ...nobody, now }))
  for (const drop of [dropOldKeys, dropOldChanges, dropOldAttempts, tendSessions])
    await apart(() => drop(env, now))
}

/** One that fails is tried again an hour later, and does not stop the others. */
const apart = (work: () => Promise<unknown>): Promise<unknown> =>
  work().catch((error: unknown) => log.error('retention_failed', { cause: String(error) }))

/** Goes on where a tenant had more than one run drops. */
export async function retainUndone(env: Bindings, execution: Deferring, now: number): Promise<void> {
  const undone = new Set((await env.KV.get<string[]>(UNDONE, 'json')) ?? [])
  if (undone.size > 0) await retainTenants(env, execution, now, ({ id }) => undone.has(id))
}

async function retainTenants(
  env: Bindings,
  execution: Deferring,
  now: number,
  isMeant: (tenant: Tenant) => boolean,
): Promise<void> {
  const undone: string[] = []
  await eachTenant(env, async (tenant) => {
    if (!isMeant(tenant)) return
    const ctx = systemContext(env, tenant, 'retention', (work) => execution.waitUntil(work))
    try {
      if (await retainTenant({ ...ctx, now })) undone.push(tenant.id)
    } catch (error) {
      log.error('retention_failed', { tenant_id: tenant.id, cause: String(error) })
    }
  })
  if (undone.length > 0) await env.KV.put(UNDONE, JSON.stringify(undone))
  else await env.KV.delete(UNDONE)
}

/** One tenant: payloads, events and deliveries by its own settings; hours of usage after ninety days; mail after thirty. Answers whether more is left. */
export async function retainTenant(ctx: Context): Promise<boolean> {
  const { payload_retention_days, metadata_retention_days } = ctx.tenant.settings
  const metadataDays = Number(metadata_retention_days)
  const payloadDays = Math.min(Number(payload_retention_days), metadataDays)
  const before = firstIdAt(ctx.now - payloadDays * DAY_MS)
  const oldest = `msg_${before}`
  const held = await exhaustHeld(ctx, before)
  const payloads = await dropPayloads(ctx, oldest)
  if (new Date(ctx.now).getUTCHours() === ORPHANS_HOUR) await dropOrphans(ctx, before)
  const metadata = await dropMetadata(ctx, firstIdAt(ctx.now - metadataDays * DAY_MS))
  await dropOldIncoming(ctx, payloadDays, metadataDays)
  await dropOldFailures(ctx)
  await dropOldHours(ctx)
  await dropOldMails(ctx)
  await dropOldJobs(ctx)
  await dropOldMailTokens(ctx)
  await dropOldChallenges(ctx)
  await dropUsedChallenges(ctx)
  await dropExpiredSecrets(ctx)
  await dropEndedKeys(ctx)
  return held || payloads || metadata
}

const markOf = (tenantId: string) => `retention:${tenantId}`

inKvOfTenant('kv_retention', markOf)

/** Ids carry their time, so what is old is a span of them; how far it was cleared stands in KV and may be forgotten. */
async function dropPayloads(ctx: Context, until: string): Promise<boolean> {
  const mark = markOf(ctx.tenant.id)
  const begun = (await ctx.env.KV.get(mark)) ?? ''
  let from = begun
  for (let round = 0; round < ROUNDS && from < until; round++) {
    const rows = await ctx.db
      .select({ id: events.id, data_key: events.data_key })
      .from(events)
      .where(and(eq(events.tenant_id, ctx.tenant.id), gt(events.id, from), lt(events.id, until)))
      .orderBy(asc(events.id))
      .limit(SLICE)
    const keys = rows.flatMap(({ data_key }) => data_key ?? [])
    if (keys.length > 0) await ctx.env.FILES.delete(keys)
    const last = rows.at(-1)?.id
    if (last !== undefined) {
      const span = and(eq(events.tenant_id, ctx.tenant.id), gt(events.id, from), lt(events.id, `${last}~`))
      const statement = ctx.db.update(events).set({ data: null, data_key: null }).where(span)
      await commit(ctx, { statements: [statement], result: undefined })
    }
    from = rows.length < SLICE ? until : (last ?? until)
  }
  // Once: KV takes one write of a key in a second.
  if (from > begun) await ctx.env.KV.put(mark, from)
  return from < until
}

/** Payloads that were put away for a commit of which nothing is known, and that no event or webhook leads to. */
async function dropOrphans(ctx: Context, before: string): Promise<void> {
  await dropFiles(ctx, `${ctx.tenant.id}/events/`, `msg_${before}`)
  await dropFiles(ctx, `${ctx.tenant.id}/incoming/`, before)
}

async function dropFiles(ctx: Context, prefix: string, until: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const { objects } = await ctx.env.FILES.list({ prefix, limit: SLICE })
    const old = objects.map(({ key }) => key).filter((key) => key < prefix + until)
    if (old.length > 0) await ctx.env.FILES.delete(old)
    if (old.length < SLICE) return
  }
}

/** What attempts sent and were answered is with the endpoints' objects, those of deleted endpoints too. */
async function dropAttempts(ctx: Context, before: string): Promise<void> {
  const { env, tenant } = ctx
  const made = await ctx.db.all<{ endpoint_id: string }>(sql`
    select distinct d.endpoint_id as endpoint_id from deliveries as d
    where d.tenant_id = ${tenant.id} and d.id < ${before}`)
  for (let at = 0; at < made.length; at += CALLS)
    await Promise.all(
      made.slice(at, at + CALLS).map(async ({ endpoint_id }) => {
        const sender = await senderOf(env, { tenant_id: tenant.id, endpoint_id })
        await sender.dropAttemptsBefore(before)
      }),
    )
}

async function dropMetadata(ctx: Context, until: string): Promise<boolean> {
  for (let round = 0; round < ROUNDS; round++) {
    const old = await ctx.db
      .select({ id: events.id })
      .from(events)
      .where(and(eq(events.tenant_id, ctx.tenant.id), lt(events.id, `msg_${until}`)))
      .orderBy(asc(events.id))
      .limit(SLICE)
    const last = old.at(-1)?.id
    if (last === undefined) return false
    // A delivery's id is its event's but for the last digits, so both spans end together.
    const end = `${last.slice('msg_'.length, -6)}~`
    // First of all: by the deliveries it is known whose attempts there are.
    await dropAttempts(ctx, end)
    await commit(ctx, {
      statements: [
        ctx.db.delete(deliveries).where(and(eq(deliveries.tenant_id, ctx.tenant.id), lt(deliveries.id, end))),
        ctx.db.delete(events).where(and(eq(events.tenant_id, ctx.tenant.id), lt(events.id, `${last}~`))),
      ],
      result: undefined,
    })
    if (old.length < SLICE) return false
  }
  return true
}
