import { and, asc, eq, isNotNull, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { parseExactly } from '../../../lib/exact-json'
import { firstIdAt } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { eventData } from '../../events/service'
import { memberOf } from './message'
import type { Received, ReceivedDetail } from './schema'
import { receivedWebhooks, refusedWebhooks } from './table'

const DAY_MS = 24 * 3600_000
/** Of nobody's, as long as events without their payload are by default. */
const KEPT_DAYS = 90
const REFUSED_DAYS = 30
/** Rows of one statement; a tenant with more has its turn again in the next round. */
const SLICE = 500
const ROUNDS = 20

/** The webhooks that were taken in, newest first; of one source, or of all. */
export async function listReceived(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined; source?: string | undefined },
): Promise<Page<Received>> {
  return newest(ctx, receivedWebhooks, input, { source: input.source })
}

/** One of them with its payload, wherever that is kept; null where it is kept no more. 404. */
export async function getReceived(ctx: Context, id: string): Promise<ReceivedDetail> {
  const rows = await ctx.db
    .select()
    .from(receivedWebhooks)
    .where(and(eq(receivedWebhooks.tenant_id, ctx.tenant.id), eq(receivedWebhooks.id, id)))
    .limit(1)
  const row = rows[0]
  if (!row) throw problem.notFound('webhook', id)
  return { ...row, payload: await payloadOf(ctx, row) }
}

async function payloadOf(
  ctx: Context,
  { body_key, event_id }: typeof receivedWebhooks.$inferSelect,
): Promise<unknown> {
  if (body_key !== null) {
    const text = await (await ctx.env.FILES.get(body_key))?.text()
    return text === undefined ? null : parseExactly(text)
  }
  const data = event_id === null ? null : await eventData(ctx, event_id)
  return data === null ? null : (memberOf(parseExactly(data), 'payload') ?? null)
}

/** Drops what was kept for as long as was promised: bodies and records as the tenant's events, refusals after their time. */
export async function dropOldIncoming(
  ctx: Context,
  payloadDays = KEPT_DAYS,
  recordDays = KEPT_DAYS,
): Promise<void> {
  const before = (days: number) => firstIdAt(ctx.now - days * DAY_MS)
  await dropBodies(ctx, before(payloadDays))
  for (const [table, days] of [
    [receivedWebhooks, recordDays],
    [refusedWebhooks, REFUSED_DAYS],
  ] as const) {
    for (let round = 0; round < ROUNDS; round++) {
      const old = await ctx.db
        .select({ id: table.id })
        .from(table)
        .where(and(eq(table.tenant_id, ctx.tenant.id), lt(table.id, before(days))))
        .orderBy(asc(table.id))
        .limit(SLICE)
      const last = old.at(-1)?.id
      if (last === undefined) break
      const span = and(eq(table.tenant_id, ctx.tenant.id), lt(table.id, `${last}~`))
      await commit(ctx, { statements: [ctx.db.delete(table).where(span)], result: undefined })
      if (old.length < SLICE) break
    }
  }
}

const withBody = (ctx: Context) =>
  and(eq(receivedWebhooks.tenant_id, ctx.tenant.id), isNotNull(receivedWebhooks.body_key))

/** Few are too large for an event: an index of their own leads to them. */
async function dropBodies(ctx: Context, until: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const rows = await ctx.db
      .select({ id: receivedWebhooks.id, body_key: receivedWebhooks.body_key })
      .from(receivedWebhooks)
      .where(and(withBody(ctx), lt(receivedWebhooks.id, until)))
      .orderBy(asc(receivedWebhooks.id))
      .limit(SLICE)
    if (rows.length === 0) return
    await ctx.env.FILES.delete(rows.flatMap(({ body_key }) => body_key ?? []))
    const last = rows.at(-1)?.id ?? ''
    const statement = ctx.db
      .update(receivedWebhooks)
      .set({ body_key: null })
      .where(and(withBody(ctx), lt(receivedWebhooks.id, `${last}~`)))
    await commit(ctx, { statements: [statement], result: undefined })
    if (rows.length < SLICE) return
  }
}
