import { and, eq, sql } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { contextFor } from '../../../data/system'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { scopesOf } from '../../tenancy/scopes'
import { effectiveSettings } from '../../tenancy/tenants/settings'
import type { TenantRow } from '../../tenancy/tenants/table'
import { signAccessToken } from '../tokens/access-token'
import { ACCESS_TOKEN_SECONDS } from '../tokens/lifetimes'
import { type UserRow, users } from '../users/table'
import { hashOf, newRefreshToken, REFRESH_TOKEN_SECONDS } from './refresh-token'
import { tenantView } from './standing'
import { refreshTokens, sessions } from './table'

/** What a login or a refresh hands out. */
export type Tokens = {
  access_token: string
  refresh_token: string
  token_type: 'Bearer'
  expires_in: number
  message: string
}

/** Who proved to be a user, and where. */
export type Candidate = { user: UserRow; tenant: TenantRow }

export type OpenOptions = {
  /** What is written in the same batch, such as a single-use token that is used up by this login. */
  statements?: Change<unknown>['statements']
  /** What the audit log shows of the way in. */
  evidence?: Record<string, unknown>
}

const userSuspended = () => problem('user_suspended', 'The user is suspended')

/** 403 where the tenant or the user may not log in now. Said only to who proved to be the user. */
export function refuseStanding({ user, tenant }: Candidate): void {
  if (tenant.status === 'suspended') throw problem('tenant_suspended', 'The tenant is suspended')
  if (tenant.status === 'cancelled') throw problem('tenant_cancelled', 'The tenant was cancelled')
  if (user.status === 'suspended') throw userSuspended()
  if (effectiveSettings(tenant.plan, tenant.settings).require_verified_email && !user.email_verified_at)
    throw problem('email_not_verified', 'The email address is not verified yet')
}

/** The context in which a user logs in: theirs, without scopes yet. */
export function loginContext(request: RequestContext, { user, tenant }: Candidate): Context {
  return contextFor(request, tenantView(tenant), {
    kind: 'user',
    id: user.id,
    email: user.email,
    role: user.role,
    scopes: new Set(),
    session_id: null,
  })
}

/** Opens a session for who has proved all there is to prove; logins come here by `finishLogin` (mfa/gate.ts). */
export async function openSession(
  request: RequestContext,
  { user, tenant }: Candidate,
  options: OpenOptions = {},
): Promise<Tokens> {
  const ctx = loginContext(request, { user, tenant })
  const now = iso(request.now)
  const sid = newId(request.now)
  const refreshToken = newRefreshToken()
  const tokens = await tokensFor(request, user, sid, refreshToken, 'Login successful')
  const session = {
    tenant_id: tenant.id,
    id: sid,
    user_id: user.id,
    user_agent: request.userAgent,
    address: request.address,
    created_at: now,
    last_seen_at: now,
    expires_at: iso(request.now + REFRESH_TOKEN_SECONDS * 1000),
  }
  return commit(ctx, {
    statements: [
      ...(options.statements ?? []),
      ctx.db.insert(sessions).values(session),
      ctx.db
        .insert(refreshTokens)
        .values({ tenant_id: tenant.id, hash: await hashOf(refreshToken), session_id: sid, created_at: now }),
      { statement: loggedIn(ctx, user.id), otherwise: userSuspended() },
    ],
    result: tokens,
    audit: {
      action: 'session.create',
      resource: 'session',
      resource_id: sid,
      after: { user_id: user.id, ...options.evidence },
    },
  })
}

/** The statement that notes a login; of a user who was suspended just now there is none, for it would outlive that. */
const loggedIn = (ctx: Context, userId: string) =>
  ctx.db
    .update(users)
    .set({ last_login_at: iso(ctx.now), version: sql`version + 1` })
    .where(and(eq(users.tenant_id, ctx.tenant.id), eq(users.id, userId), eq(users.status, 'active')))

/** Access and refresh token of a session, as the answer shows them. */
export async function tokensFor(
  request: RequestContext,
  user: Pick<UserRow, 'id' | 'tenant_id' | 'role' | 'email'>,
  sid: string,
  refreshToken: string,
  message: string,
): Promise<Tokens> {
  return {
    access_token: await signAccessToken(request, user, sid, scopesOf(user.role)),
    refresh_token: refreshToken,
    token_type: 'Bearer',
    expires_in: ACCESS_TOKEN_SECONDS,
    message,
  }
}
