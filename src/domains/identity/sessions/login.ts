import { and, desc, eq, ne, or, sql } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { problem } from '../../../lib/problem'
import { tenantMeant } from '../../tenancy/tenants/pinned'
import { tenants } from '../../tenancy/tenants/table'
import { finishLogin } from '../mfa/gate'
import { hashPassword, needsRehash, verifyPassword } from '../users/password'
import { users } from '../users/table'
import type { Candidate, Tokens } from './open'
import type { Login } from './schema'

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
  const tenant = tenantMeant(request, input.tenant)
  const found = await candidatesOf(request, input.email, tenant)
  const fitting: Candidate[] = []
  for (let i = 0; i < (tenant ? 1 : MOST_CANDIDATES); i++) {
    const candidate = found[i]
    const fits = await verifyPassword(input.password, candidate?.user.password_hash ?? null)
    if (fits && candidate) fitting.push(candidate)
  }
  const [match, ...others] = fitting
  if (!match) {
    const hint = tenant ? '' : '; if the address belongs to several tenants, name one as "tenant"'
    throw problem.unauthorized('invalid_credentials', `The email or the password is wrong${hint}`)
  }
  if (others.length > 0) {
    const named = fitting.map(({ tenant }) => ({ id: tenant.id, name: tenant.name }))
    throw problem('tenant_required', 'The address belongs to several tenants', {
      details: { tenants: named },
    })
  }
  const weak = match.user.password_hash !== null && needsRehash(match.user.password_hash)
  return finishLogin(request, match, 'password', {
    passwordHash: weak ? await hashPassword(input.password) : undefined,
  })
}

async function candidatesOf(request: RequestContext, email: string, tenant?: string): Promise<Candidate[]> {
  const single = request.settings.SINGLE_TENANT_ID
  const wanted = and(
    eq(users.email, email),
    ne(tenants.status, 'cancelled'),
    tenant ? or(eq(tenants.id, tenant.toLowerCase()), eq(tenants.slug, tenant)) : undefined,
    single ? eq(tenants.id, single) : undefined,
  )
  return directory(request.env)
    .select({ user: users, tenant: tenants })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(wanted)
    .orderBy(desc(sql`${users.email_verified_at} is not null`), users.created_at)
    .limit(MOST_CANDIDATES)
    .all()
}
