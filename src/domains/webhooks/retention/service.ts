import { and, asc, eq, gt, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { inKvOfTenant } from '../../../data/erasure'
import { systemContext } from '../../../data/system'
import { dropOldChanges } from '../../../data/tell'
import type { Bindings } from '../../../env'
import { firstIdAt } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { events } from '../../events/table'
import { dropOldAttempts } from '../../identity/attempts/service'
import { dropOldChallenges } from '../../identity/mfa/challenge'
import { dropUsedChallenges } from '../../identity/passkeys/login'
import { dropOldMailTokens } from '../../identity/users/mail-tokens'
import { dropOldMails } from '../../mail/service'
import { dropOldKeys } from '../../metering/idempotency/service'
import { dropOldHours } from '../../metering/usage/archive'
import { eachTenant } from '../../tenancy/tenants/service'
import { deliveries } from '../deliveries/table'

const DAY_MS = 24 * 3600_000
/** Events and deliveries without their payload are kept this long (webhooks.md). */
const METADATA_DAYS = 90
/** Rows of one statement; a tenant with more has its turn again in the next round. */
const SLICE = 500
const ROUNDS = 20

type Deferring = Pick<ExecutionContext, 'waitUntil'>

/** Drops what has been kept for as long as was promised, tenant by tenant; one that fails does not stop the others. */
export async function retain(env: Bindings, execution: Deferring, now: number): Promise<void> {
  await eachTenant(env, async (tenant) => {
    const ctx = systemContext(env, tenant, 'retention', (work) => execution.waitUntil(work))
    await retainTenant({ ...ctx, now }).catch((error: unknown) =>
      log.error('retention_failed', { tenant_id: tenant.id, cause: String(error) }),
    )
  })
  await dropOldKeys(env, now)
  await dropOldChanges(env, now)
  await dropOldAttempts(env, now)
}

/** One tenant: payloads by its own setting; events, deliveries and hours of usage after ninety days; mail after thirty. */
export async function retainTenant(ctx: Context): Promise<void> {
  const days = Number(ctx.tenant.settings.payload_retention_days)
  await dropPayloads(ctx, `msg_${firstIdAt(ctx.now - days * DAY_MS)}`)
  await dropMetadata(ctx, firstIdAt(ctx.now - METADATA_DAYS * DAY_MS))
  await dropOldHours(ctx)
  await dropOldMails(ctx)
  await dropOldMailTokens(ctx)
  await dropOldChallenges(ctx)
  await dropUsedChallenges(ctx)
}

const markOf = (tenantId: string) => `retention:${tenantId}`

inKvOfTenant('kv_retention', markOf)

/** Ids carry their time, so what is old is a span of them; how far it was cleared stands in KV and may be forgotten. */
async function dropPayloads(ctx: Context, until: string): Promise<void> {
  const mark = markOf(ctx.tenant.id)
  let from = (await ctx.env.KV.get(mark)) ?? ''
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
    await ctx.env.KV.put(mark, from)
  }
}

async function dropMetadata(ctx: Context, until: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const old = await ctx.db
      .select({ id: events.id })
      .from(events)
      .where(and(eq(events.tenant_id, ctx.tenant.id), lt(events.id, `msg_${until}`)))
      .orderBy(asc(events.id))
      .limit(SLICE)
    const last = old.at(-1)?.id
    if (last === undefined) return
    // A delivery's id is its event's but for the last digits, so both spans end together.
    const end = last.slice('msg_'.length)
    await commit(ctx, {
      statements: [
        ctx.db
          .delete(deliveries)
          .where(and(eq(deliveries.tenant_id, ctx.tenant.id), lt(deliveries.id, `${end.slice(0, -6)}~`))),
        ctx.db.delete(events).where(and(eq(events.tenant_id, ctx.tenant.id), lt(events.id, `${last}~`))),
      ],
      result: undefined,
    })
    if (old.length < SLICE) return
  }
}
