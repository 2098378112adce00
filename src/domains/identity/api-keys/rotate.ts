import { and, eq, gt, isNull, or } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { scopesOf } from '../../tenancy/scopes'
import { deadline, ending } from '../knowledge'
import { users } from '../users/table'
import { boundsWithin } from './bounds'
import type { RotateApiKey } from './schema'
import { auditView, createdEvent, type KeyView, newKey, readKey, revokedEvent } from './service'
import { type ApiKeyRow, apiKeys } from './table'

/**
 * Makes a new key in the place of one, which goes on to count for the stated time. The new one has what the old one has
 * now: its maker, limits and what they counted, addresses, and the scopes that its maker still allows. It is for the
 * maker, or an administrator, who holds all of these scopes; where a key asks, its own bounds are the new one's. 409 for a key that is over, or was rotated before.
 */
export async function rotateApiKey(
  ctx: Context,
  id: string,
  input: RotateApiKey,
): Promise<KeyView & { key: string }> {
  const old = await readKey(ctx, id)
  if (ctx.ifMatch !== undefined && ctx.ifMatch !== old.version)
    throw problem('precondition_failed', 'The API key has changed since it was read')
  const scopes = await scopesLeft(ctx, old)
  refuseStranger(ctx, old, scopes)
  const bounds = await boundsWithin(ctx, {
    expires_at: input.expires_at ?? old.expires_at ?? undefined,
    limits: old.limits ?? undefined,
    allowed_addresses: old.allowed_addresses ?? undefined,
  })
  const { key, row } = await newKey(ctx, {
    ...{ name: old.name, scopes, created_by: old.created_by, ...bounds },
    mode: old.prefix.startsWith('sk_test_') ? 'test' : 'live',
    counted_as: bounds.counted_as ?? old.counted_as ?? old.id,
  })
  const end = endOf(ctx, old, input.overlap_seconds)
  const over = problem(
    'conflict',
    'The API key is over, or was rotated before: rotate the one that replaced it',
  )
  const end_old = ctx.db
    .update(apiKeys)
    .set({
      ...(end.at ? { expires_at: end.at } : { revoked_at: iso(ctx.now) }),
      replaced_by: row.id,
      version: old.version + 1,
    })
    .where(
      and(
        eq(apiKeys.tenant_id, ctx.tenant.id),
        eq(apiKeys.id, id),
        eq(apiKeys.version, old.version),
        livesOn(ctx),
      ),
    )
  return commit(ctx, {
    statements: [{ statement: end_old, otherwise: over }, ctx.db.insert(apiKeys).values(row)],
    result: { ...row, status: 'active' as const, key },
    audit: {
      action: 'api_key.rotate',
      resource: 'api_key',
      resource_id: id,
      before: auditView(old),
      after: { ...auditView(row), overlap_ends_at: end.at ?? iso(ctx.now) },
    },
    events: [createdEvent(row), ...(end.at ? [] : [revokedEvent(old)])],
    tell: [end.at ? deadline(id, Date.parse(end.at)) : ending('api_key', id)],
    secret: true,
  })
}

const livesOn = (ctx: Context) =>
  and(
    isNull(apiKeys.revoked_at),
    isNull(apiKeys.replaced_by),
    or(isNull(apiKeys.expires_at), gt(apiKeys.expires_at, iso(ctx.now))),
  )

/** Until when the old key counts; null where it ends now. */
function endOf(ctx: Context, old: ApiKeyRow, overlapSeconds: number): { at: string | null } {
  if (overlapSeconds === 0) return { at: null }
  const at = iso(ctx.now + overlapSeconds * 1000)
  return { at: old.expires_at !== null && old.expires_at < at ? old.expires_at : at }
}

/** What the key may now: its scopes as far as its maker has them. */
async function scopesLeft(ctx: Context, { scopes, created_by }: ApiKeyRow): Promise<string[]> {
  if (created_by === null) return scopes
  const maker = await find(ctx, users, created_by)
  const allowed = new Set<string>(scopesOf(maker?.role ?? ''))
  return scopes.filter((scope) => allowed.has(scope))
}

/** Who is shown a key can act with it, and as its maker. */
function refuseStranger(ctx: Context, { created_by }: ApiKeyRow, scopes: string[]): void {
  const { scopes: held } = ctx.principal
  const missing = scopes.filter((scope) => !held.has(scope))
  if (created_by !== null && created_by !== actingUser(ctx) && !held.has('users:write'))
    missing.push('users:write')
  if (missing.length > 0)
    throw problem(
      'insufficient_scope',
      'Only its maker, or an administrator with all of its scopes, can rotate this key',
      {
        details: { missing },
      },
    )
}
