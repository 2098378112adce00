import { and, desc, eq, ne, or, sql } from 'drizzle-orm'
import { type Check, commit, type Guarded } from '../../../data/commit'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { bareTenant, contextFor } from '../../../data/system'
import { Problem, problem } from '../../../lib/problem'
import { isAdmitted, refuseOtherTenant, tenantMeant } from '../../tenancy/tenants/pinned'
import { tenants } from '../../tenancy/tenants/table'
import { countWrong } from '../attempts/passwords'
import { finishLogin } from '../mfa/gate'
import { importedCost } from '../users/imported'
import { hashPassword, needsRehash, verifyEach } from '../users/password'
import { users } from '../users/table'
import { type Candidate, loginContext, type Tokens } from './open'
import type { Login } from './schema'

/**
 * At most so many tenants are tried for one address, verified users first; a login that names none always costs as many
 * hashes. A stranger who signs up with somebody's address comes after its owner, and locks nobody out.
 */
const MOST_CANDIDATES = 3

/** `device` is what the cookie of that name says. */
export type LoginInput = Login & { device?: string | undefined }

/**
 * Logs a user in. The number of hashes depends only on whether the tenant is named, never on whether the address
 * exists; 409 `tenant_required` where the password fits in several tenants, 429 after ten wrong ones within the hour.
 */
export async function login(request: RequestContext, input: LoginInput): Promise<Tokens> {
  const tenant = tenantMeant(request, input.tenant)
  if (input.tenant) await refuseOtherNamed(request, input.tenant)
  const [found, cost] = await Promise.all([
    candidatesOf(request, input.email, tenant),
    importedCost(request.env),
  ])
  const trial = { email: input.email, device: input.device }
  const match = await countWrong(request, trial, found, async (candidates, wrong) => {
    const places = Array.from({ length: tenant ? 1 : MOST_CANDIDATES }, (_, i) => candidates[i])
    const stored = places.map((candidate) => candidate?.user.password_hash ?? null)
    const fits = await verifyEach(input.password, stored, cost)
    const fitting = candidates.filter((_, i) => fits[i] === true)
    if (fitting.length === 0) recordRefusal(request, candidates)
    // Who registered the address without having it would else find out by his own password whether it is its owner's.
    const isOwner = fitting.some(({ user }) => user.email_verified_at !== null)
    if (fitting.length < candidates.length && !isOwner) wrong()
    return theOne(fitting, tenant !== undefined)
  })
  const { candidate, unchanged } = await hashedAnew(request, match, input.password)
  return finishLogin(request, candidate, 'password', { statements: [unchanged] })
}

/** 403 where a service for one tenant is asked for another, by its id or slug, there or not. */
async function refuseOtherNamed(request: RequestContext, named: string): Promise<void> {
  const single = request.settings.SINGLE_TENANT_ID
  if (!single || isAdmitted(request, named.toLowerCase())) return
  const own = await directory(request.env)
    .select({ slug: tenants.slug })
    .from(tenants)
    .where(eq(tenants.id, single))
    .get()
  if (own?.slug !== named) refuseOtherTenant(request, null)
}

function theOne(fitting: Candidate[], isNamed: boolean): Candidate {
  const [match, ...others] = fitting
  if (!match) {
    const hint = isNamed ? '' : '; if the address belongs to several tenants, name one as "tenant"'
    throw problem.unauthorized('invalid_credentials', `The email or the password is wrong${hint}`)
  }
  if (others.length > 0) {
    const named = fitting.map(({ tenant }) => ({ id: tenant.id, name: tenant.name }))
    throw problem('tenant_required', 'The address belongs to several tenants', {
      details: { tenants: named },
    })
  }
  return match
}

async function candidatesOf(request: RequestContext, email: string, tenant?: string): Promise<Candidate[]> {
  const single = request.settings.SINGLE_TENANT_ID
  const wanted = and(
    eq(users.email, email),
    ne(tenants.status, 'cancelled'),
    tenant ? or(eq(tenants.id, tenant.toLowerCase()), eq(tenants.slug, tenant)) : undefined,
    single ? eq(tenants.id, single) : undefined,
  )
  return (
    directory(request.env)
      .select({ user: users, tenant: tenants })
      .from(users)
      .innerJoin(tenants, eq(tenants.id, users.tenant_id))
      .where(wanted)
      // Who has no password takes nobody's place: a tenant's issuer adds users of any address.
      .orderBy(
        desc(sql`${users.password_hash} is not null`),
        desc(sql`${users.email_verified_at} is not null`),
        users.created_at,
      )
      .limit(MOST_CANDIDATES)
      .all()
  )
}

/** So long after the answer a refusal is written down: what is done for a known address alone must not delay it. */
const RECORD_AFTER_MS = 20

function recordRefusal(request: RequestContext, candidates: Candidate[]): void {
  const record = async () => {
    await scheduler.wait(RECORD_AFTER_MS)
    for (const { user } of candidates)
      await commit(contextFor(request, bareTenant(user.tenant_id)), {
        statements: [],
        result: undefined,
        audit: {
          action: 'session.refuse',
          resource: 'user',
          resource_id: user.id,
          after: { wrong: 'password' },
        },
      })
  }
  if (candidates.length > 0) request.defer(record())
}

/**
 * The candidate with a hash by today's parameters, and what makes the login fail where the password was changed since it
 * was read: a session by the old one must not be opened after the change ended them all.
 */
async function hashedAnew(
  request: RequestContext,
  candidate: Candidate,
  password: string,
): Promise<{ candidate: Candidate; unchanged: Guarded | Check }> {
  const { user } = candidate
  const ctx = loginContext(request, candidate)
  const otherwise = problem.unauthorized('invalid_credentials', 'The password was changed just now')
  const same = sql`tenant_id = ${user.tenant_id} and id = ${user.id} and password_hash is ${user.password_hash}`
  const next = user.password_hash !== null && needsRehash(user.password_hash) ? await renewed(password) : null
  if (next === null)
    return { candidate, unchanged: { holds: sql`exists (select 1 from users where ${same})`, otherwise } }
  const statement = ctx.db
    .update(users)
    .set({ password_hash: next })
    .where(
      and(
        eq(users.tenant_id, user.tenant_id),
        eq(users.id, user.id),
        eq(users.password_hash, user.password_hash ?? ''),
      ),
    )
  return {
    candidate: { ...candidate, user: { ...user, password_hash: next } },
    unchanged: { statement, otherwise },
  }
}

/** A better hash can wait for the next login where the line is long now. */
async function renewed(password: string): Promise<string | null> {
  return hashPassword(password).catch((error: unknown) => {
    if (error instanceof Problem && error.code === 'login_busy') return null
    throw error
  })
}
