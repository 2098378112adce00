import { and, desc, eq, ne, or, sql } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { type TenantRow, tenants } from '../../tenancy/tenants/table'
import type { Candidate } from '../sessions/open'
import { users } from '../users/table'
import type { Identity } from './identity'
import { type OauthAccountRow, oauthAccounts } from './table'

/** Beyond so many tenants the login must name one; they are shown to whoever it is about. */
const MOST = 20

/** In which tenants is looked: the one that is named, by id or slug, and never another than SINGLE_TENANT_ID. */
function meant(request: RequestContext, tenant: string | undefined) {
  const single = request.settings.SINGLE_TENANT_ID
  return and(
    ne(tenants.status, 'cancelled'),
    tenant ? or(eq(tenants.id, tenant.toLowerCase()), eq(tenants.slug, tenant)) : undefined,
    single ? eq(tenants.id, single) : undefined,
  )
}

export type Linked = Candidate & { account: OauthAccountRow }

/** The users that a login at a provider is linked to. */
export function linkedUsers(
  request: RequestContext,
  provider: string,
  { issuer, subject }: Identity,
  tenant: string | undefined,
): Promise<Linked[]> {
  const identity = and(
    eq(oauthAccounts.provider, provider),
    eq(oauthAccounts.issuer, issuer),
    eq(oauthAccounts.subject, subject),
  )
  const theirs = and(eq(users.tenant_id, oauthAccounts.tenant_id), eq(users.id, oauthAccounts.user_id))
  return directory(request.env)
    .select({ user: users, tenant: tenants, account: oauthAccounts })
    .from(oauthAccounts)
    .innerJoin(users, theirs)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(and(identity, meant(request, tenant)))
    .limit(MOST)
    .all()
}

/** The users of an address, those who confirmed it first. */
export function usersOf(
  request: RequestContext,
  email: string,
  tenant: string | undefined,
): Promise<Candidate[]> {
  return directory(request.env)
    .select({ user: users, tenant: tenants })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(and(eq(users.email, email), meant(request, tenant)))
    .orderBy(
      desc(sql`${users.email_verified_at} is not null`),
      // However many register it elsewhere, the personal one is among those that are seen.
      desc(users.is_personal),
      users.created_at,
    )
    .limit(MOST)
    .all()
}

/** The tenant that a login names. */
export function tenantNamed(request: RequestContext, tenant: string): Promise<TenantRow | undefined> {
  return directory(request.env).select().from(tenants).where(meant(request, tenant)).get()
}
