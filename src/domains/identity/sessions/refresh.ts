import { and, eq, isNull } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { contextFor } from '../../../data/system'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { tenants } from '../../tenancy/tenants/table'
import { ending } from '../knowledge'
import { users } from '../users/table'
import { refuseStanding, type Tokens, tokensFor } from './open'
import { hashOf, REFRESH_TOKEN_SECONDS, type Successor, successorsOf } from './refresh-token'
import { tenantView } from './standing'
import { refreshTokens, sessions } from './table'

/** A client that sends one token twice at the same time is given the same successor within this time. */
const GRACE_MS = 10_000

/**
 * Exchanges a refresh token for the next one. A token that was used before ends its whole session, since either its
 * owner or a thief holds the successor, except for the same client's race within ten seconds.
 */
export async function refresh(request: RequestContext, token: string): Promise<Tokens> {
  const hash = await hashOf(token)
  const found = await look(request, hash)
  if (!found) throw problem.unauthorized('invalid_token', 'The refresh token is not valid')
  const { used, session, user, tenant } = found
  refuseOtherTenant(request, tenant.id)
  const now = iso(request.now)
  if (session.expires_at <= now) throw problem.unauthorized('token_expired', 'The refresh token has expired')
  if (session.ended_at !== null || tenant.status === 'cancelled')
    throw problem.unauthorized('token_revoked', 'The session has ended')
  refuseStanding({ user, tenant })
  // Only now: who kept a token that has ended must not use up what its tenant needs.
  await request.admit?.(tenant)

  const ctx = contextFor(request, tenantView(tenant))
  const successors = await successorsOf(request.settings, token)
  const [successor] = successors
  const tokens = await tokensFor(request, user, session.id, successor.token, 'Token refreshed')
  if (used === null) {
    const rotated = await rotate(ctx, hash, successor.hash, session.id, tokens)
    if (rotated) return rotated
  }
  return forgiveOrEnd(ctx, hash, successors, session.user_agent, session.id, tokens)
}

async function look(request: RequestContext, hash: string) {
  return directory(request.env)
    .select({ used: refreshTokens.used_at, session: sessions, user: users, tenant: tenants })
    .from(refreshTokens)
    .innerJoin(
      sessions,
      and(eq(sessions.tenant_id, refreshTokens.tenant_id), eq(sessions.id, refreshTokens.session_id)),
    )
    .innerJoin(users, and(eq(users.tenant_id, sessions.tenant_id), eq(users.id, sessions.user_id)))
    .innerJoin(tenants, eq(tenants.id, sessions.tenant_id))
    .where(eq(refreshTokens.hash, hash))
    .get()
}

/** Uses the token up and lays down its successor; null where another request used it first. */
async function rotate(
  ctx: Context,
  hash: string,
  next: string,
  sid: string,
  tokens: Tokens,
): Promise<Tokens | null> {
  const now = iso(ctx.now)
  const raced = problem('conflict', 'The token was used by another request')
  const use = ctx.db
    .update(refreshTokens)
    .set({ used_at: now })
    .where(
      and(
        eq(refreshTokens.tenant_id, ctx.tenant.id),
        eq(refreshTokens.hash, hash),
        isNull(refreshTokens.used_at),
      ),
    )
  try {
    return await commit(ctx, {
      statements: [
        { statement: use, otherwise: raced },
        ctx.db
          .insert(refreshTokens)
          .values({ tenant_id: ctx.tenant.id, hash: next, session_id: sid, created_at: now }),
        ctx.db
          .update(sessions)
          .set({ last_seen_at: now, expires_at: iso(ctx.now + REFRESH_TOKEN_SECONDS * 1000) })
          .where(and(eq(sessions.tenant_id, ctx.tenant.id), eq(sessions.id, sid))),
      ],
      result: tokens,
    })
  } catch (error) {
    if (error === raced) return null
    throw error
  }
}

async function forgiveOrEnd(
  ctx: Context,
  hash: string,
  successors: Successor[],
  userAgent: string | null,
  sid: string,
  tokens: Tokens,
): Promise<Tokens> {
  const rows = await ctx.db
    .select({ hash: refreshTokens.hash, used_at: refreshTokens.used_at })
    .from(refreshTokens)
    .where(and(eq(refreshTokens.tenant_id, ctx.tenant.id), eq(refreshTokens.session_id, sid)))
    .all()
  const usedAt = rows.find((row) => row.hash === hash)?.used_at
  const following = rows.find(
    (row) => row.used_at === null && successors.some(({ hash }) => hash === row.hash),
  )
  const given = successors.find((successor) => successor.hash === following?.hash)
  const recent = usedAt != null && Date.parse(usedAt) > ctx.now - GRACE_MS
  if (recent && given && userAgent === ctx.userAgent) return { ...tokens, refresh_token: given.token }

  const now = iso(ctx.now)
  await commit(ctx, {
    statements: [
      ctx.db
        .update(sessions)
        .set({ ended_at: now })
        .where(and(eq(sessions.tenant_id, ctx.tenant.id), eq(sessions.id, sid), isNull(sessions.ended_at))),
    ],
    result: null,
    audit: { action: 'session.reuse_detected', resource: 'session', resource_id: sid },
    tell: [ending('session', sid)],
  })
  throw problem.unauthorized('token_revoked', 'The refresh token was used before; the session has ended')
}
