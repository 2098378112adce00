import { and, eq, inArray, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { onDeparture } from '../../../data/departures'
import type { Page } from '../../../data/page'
import { sealedIn } from '../../../data/sealed'
import { Sealer, sha256 } from '../../../lib/crypto'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { refusalOfUrl } from '../../../lib/safe-url'
import { credentialOf } from '../../realtime/listener'
import { checkPoint } from './encrypt'
import type { PushSubscription, Subscribe } from './schema'
import type { Target } from './send'
import { type PushRow, pushSubscriptions } from './table'
import { identityOf } from './vapid'

/** Browsers of one user. */
export const MOST_SUBSCRIPTIONS = 20

const sealer = (ctx: Pick<Context, 'settings'>) => new Sealer(ctx.settings, 'push')
const bound = (tenantId: string, id: string) => `${tenantId}/${id}`

sealedIn({
  ...{ purpose: 'push', table: 'push_subscriptions', column: 'target', key: ['tenant_id', 'id'] },
  bound: (tenantId = '', id = '') => bound(tenantId, id),
})

/** The key that browsers subscribe with; 409 `push_not_configured` where the service has none. */
export async function pushKey(ctx: Context): Promise<{ public_key: string }> {
  const { public_key } = await identityOf(ctx.settings)
  return { public_key }
}

/** Has a browser of the caller’s told of answers; the same browser again is the same subscription. */
export async function subscribe(ctx: Context, input: Subscribe): Promise<PushSubscription> {
  await identityOf(ctx.settings)
  const user_id = userOf(ctx)
  const refusal = await refusalOfUrl(input.endpoint, ctx.settings)
  if (refusal) throw problem.invalid({ endpoint: refusal })
  await checkPoint(input.keys.p256dh).catch(() => {
    throw problem.invalid({ 'keys.p256dh': 'must be the public key of the browser: a point of P-256' })
  })
  const address_hash = await sha256(input.endpoint)
  const mine = and(of(ctx, user_id), eq(pushSubscriptions.address_hash, address_hash))
  const before = await ctx.db.select().from(pushSubscriptions).where(mine).get()
  const now = iso(ctx.now)
  const id = before?.id ?? newId(ctx.now)
  const target: Target = { endpoint: input.endpoint, ...input.keys }
  const row: PushRow = {
    ...{ tenant_id: ctx.tenant.id, id, user_id, address_hash },
    service: new URL(input.endpoint).origin,
    target: await sealer(ctx).seal(JSON.stringify(target), bound(ctx.tenant.id, id)),
    credential: credentialOf(ctx),
    ...{ created_at: before?.created_at ?? now, updated_at: now },
  }
  const { target: sealed, credential, updated_at } = row
  await commit(ctx, {
    statements: [
      before
        ? {
            statement: ctx.db
              .update(pushSubscriptions)
              .set({ target: sealed, credential, updated_at })
              .where(and(of(ctx, user_id), eq(pushSubscriptions.id, id))),
            otherwise: problem('conflict', 'The subscription was deleted meanwhile; send it again'),
          }
        : ctx.db.insert(pushSubscriptions).values(row),
      {
        holds: sql`(select count(*) from ${pushSubscriptions} where ${of(ctx, user_id)}) <= ${MOST_SUBSCRIPTIONS}`,
        otherwise: problem('conflict', `A user has ${MOST_SUBSCRIPTIONS} subscriptions at most; delete one`, {
          details: { limit: MOST_SUBSCRIPTIONS },
        }),
      },
    ],
    result: view(row),
    unique: {
      'push_subscriptions.tenant_id': problem('conflict', 'The browser is being subscribed; send it again'),
    },
  })
  return view(row)
}

/** The caller’s browsers, the first of them first. */
export async function listSubscriptions(ctx: Context): Promise<Page<PushSubscription>> {
  const rows = await ctx.db
    .select()
    .from(pushSubscriptions)
    .where(of(ctx, userOf(ctx)))
  const items = rows.map(view).sort((a, b) => (a.id < b.id ? -1 : 1))
  return { items, next_cursor: null }
}

/** Has a browser of the caller’s told nothing any more. 404 where it is none of the caller’s. */
export async function unsubscribe(ctx: Context, id: string): Promise<undefined> {
  const mine = and(of(ctx, userOf(ctx)), eq(pushSubscriptions.id, id))
  const statement = ctx.db.delete(pushSubscriptions).where(mine)
  await commit(ctx, {
    statements: [{ statement, otherwise: problem.notFound('push subscription', id) }],
    result: undefined,
  })
}

/** The browsers of some users. Not async: it goes into a batch. */
export const subscriptionsOf = (ctx: Context, userIds: readonly string[]) =>
  ctx.db
    .select()
    .from(pushSubscriptions)
    .where(
      and(
        eq(pushSubscriptions.tenant_id, ctx.tenant.id),
        inArray(pushSubscriptions.user_id, sql`(select value from json_each(${JSON.stringify(userIds)}))`),
      ),
    )

/** Where a browser is told. */
export async function targetOf(ctx: Pick<Context, 'settings'>, row: PushRow): Promise<Target> {
  return JSON.parse(await sealer(ctx).open(row.target, bound(row.tenant_id, row.id))) as Target
}

/** Forgets browsers that want to be told nothing any more. */
export async function forget(ctx: Context, ids: readonly string[]): Promise<void> {
  const gone = and(
    eq(pushSubscriptions.tenant_id, ctx.tenant.id),
    inArray(pushSubscriptions.id, sql`(select value from json_each(${JSON.stringify(ids)}))`),
  )
  await commit(ctx, { statements: [ctx.db.delete(pushSubscriptions).where(gone)], result: undefined })
}

const of = (ctx: Context, userId: string) =>
  and(eq(pushSubscriptions.tenant_id, ctx.tenant.id), eq(pushSubscriptions.user_id, userId))

const view = ({ id, service, created_at, updated_at }: PushRow) => ({
  ...{ id, service },
  created_at: created_at ?? '',
  updated_at: updated_at ?? '',
})

function userOf(ctx: Context): string {
  const user = actingUser(ctx)
  if (user === null) throw problem('user_required', 'A browser is a user’s, and this key stands for none')
  return user
}

onDeparture((ctx, departed) => {
  if (departed.kind !== 'user') return {}
  return { statements: [ctx.db.delete(pushSubscriptions).where(of(ctx, departed.id))] }
})
