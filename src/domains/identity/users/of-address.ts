import { and, eq, ne, type SQL } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { bareTenant, contextFor } from '../../../data/system'
import { tenants } from '../../tenancy/tenants/table'
import { mayMail } from './mail-limit'
import { type UserRow, users } from './table'

/** An address in more tenants than this gets a mail for the first of them. */
const MOST_MAILS = 3

type Mailing = {
  /** Which of the address's users, and in which order. */
  wanted: SQL
  order: SQL[]
  /** What is sent to one of them, as it is committed. */
  mail: (ctx: Context, user: UserRow) => Promise<Omit<Change<undefined>, 'result'>>
}

/** Mails users of an address that somebody typed, in whatever tenants they are; nobody where it had its mails already. */
export async function mailUsersOf(
  request: RequestContext,
  email: string,
  { wanted, order, mail }: Mailing,
): Promise<void> {
  if (!(await mayMail(request, email))) return
  const single = request.settings.SINGLE_TENANT_ID
  const meant = and(ne(tenants.status, 'cancelled'), single ? eq(tenants.id, single) : undefined)
  const rows = await directory(request.env)
    .select({ user: users })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(and(eq(users.email, email), wanted, meant))
    .orderBy(...order)
    .limit(MOST_MAILS)
  for (const { user } of rows) {
    const ctx = { ...contextFor(request, bareTenant(user.tenant_id)), idempotency: null }
    await commit(ctx, { ...(await mail(ctx, user)), result: undefined })
  }
}
