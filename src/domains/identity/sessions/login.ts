import { and, desc, eq, ne, or, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { contextFor } from '../../../data/system'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { scopesOf } from '../../tenancy/scopes'
import { effectiveSettings } from '../../tenancy/tenants/settings'
import { type TenantRow, tenants } from '../../tenancy/tenants/table'
import { ACCESS_TOKEN_SECONDS, signAccessToken } from '../tokens/access-token'
import { hashPassword, needsRehash, verifyPassword } from '../users/password'
import { type UserRow, users } from '../users/table'
import { hashOf, newRefreshToken, REFRESH_TOKEN_SECONDS } from './refresh-token'
import type { Login } from './schema'
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

type Candidate = { user: UserRow; tenant: TenantRow }

/**
 * At most so many tenants are tried for one address, verified users first; a login that names none always costs as many
 * hashes. A stranger who signs up with somebody's address comes after its owner, and locks nobody out.
 */
const MOST_CANDIDATES = 3

/**
 * Logs a user in. The number of hashes depends only on whether the tenant is named, never on whether the address
 * exists; 409 `tenant_required` where the password fits in several tenants.
 */
export async function login(request: RequestContext, input: Login): Promise<Tokens> {
  const found = await candidatesOf(request, input)
  const fitting: Candidate[] = []
  for (let i = 0; i < (input.tenant ? 1 : MOST_CANDIDATES); i++) {
    const candidate = found[i]
    const fits = await verifyPassword(input.password, candidate?.user.password_hash ?? null)
    if (fits && candidate) fitting.push(candidate)
  }
  const [match, ...others] = fitting
  if (!match) {
    const hint = input.tenant ? '' : '; if the address belongs to several tenants, name one as "tenant"'
    throw problem.unauthorized('invalid_credentials', `The email or the password is wrong${hint}`)
  }
  if (others.length > 0) {
    const named = fitting.map(({ tenant }) => ({ id: tenant.id, name: tenant.name }))
    throw problem('tenant_required', 'The address belongs to several tenants', {
      details: { tenants: named },
    })
  }
  refuseStanding(match)
  return openSession(request, match, input.password)
}

async function candidatesOf(request: RequestContext, input: Login): Promise<Candidate[]> {
  const ofAddress = and(eq(users.email, input.email), ne(tenants.status, 'cancelled'))
  const named = input.tenant
    ? and(ofAddress, or(eq(tenants.id, input.tenant.toLowerCase()), eq(tenants.slug, input.tenant)))
    : ofAddress
  return directory(request.env)
    .select({ user: users, tenant: tenants })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(named)
    .orderBy(desc(sql`${users.email_verified_at} is not null`), users.created_at)
    .limit(MOST_CANDIDATES)
    .all()
}

/** Said only to who knew the password. */
function refuseStanding({ user, tenant }: Candidate): void {
  if (tenant.status === 'suspended') throw problem('tenant_suspended', 'The tenant is suspended')
  if (user.status === 'suspended') throw problem('user_suspended', 'The user is suspended')
  if (effectiveSettings(tenant.plan, tenant.settings).require_verified_email && !user.email_verified_at)
    throw problem('email_not_verified', 'The email address is not verified yet')
}

async function openSession(
  request: RequestContext,
  { user, tenant }: Candidate,
  password: string,
): Promise<Tokens> {
  const ctx = contextFor(request, tenantView(tenant), {
    kind: 'user',
    id: user.id,
    email: user.email,
    role: user.role,
    scopes: new Set(),
    session_id: null,
  })
  const now = iso(request.now)
  const sid = newId(request.now)
  const refreshToken = newRefreshToken()
  const rehashed = user.password_hash && needsRehash(user.password_hash) ? await hashPassword(password) : null
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
      ctx.db.insert(sessions).values(session),
      ctx.db
        .insert(refreshTokens)
        .values({ tenant_id: tenant.id, hash: await hashOf(refreshToken), session_id: sid, created_at: now }),
      ctx.db
        .update(users)
        .set({
          last_login_at: now,
          version: sql`version + 1`,
          ...(rehashed ? { password_hash: rehashed } : {}),
        })
        .where(and(eq(users.tenant_id, tenant.id), eq(users.id, user.id))),
    ],
    result: tokens,
    audit: { action: 'session.create', resource: 'session', resource_id: sid, after: { user_id: user.id } },
  })
}

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
