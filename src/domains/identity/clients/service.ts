import { actingUser, type Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { rightsOfUser } from '../../tenancy/partners/rights'
import { currentTenant } from '../../tenancy/tenants/service'

/** More of a partner's tenants than these are found in the partner portal, page by page. */
const MOST = 500

/**
 * The tenants that the caller may act in: a user belongs to one, and so does a key, which acts with its maker's role; a
 * partner's user acts in the partner's as well.
 */
export async function listClients(ctx: Context): Promise<Page<ClientShown>> {
  const { principal } = ctx
  const { id, name, slug, plan } = await currentTenant(ctx)
  const role = 'role' in principal ? principal.role : ''
  const userId = principal.kind === 'user' && !principal.tenant_only ? actingUser(ctx) : null
  const elsewhere = userId === null ? [] : await rightsOfUser(ctx, userId, MOST)
  return { items: [{ id, name, slug, plan, role }, ...elsewhere], next_cursor: null }
}

type ClientShown = Pick<Awaited<ReturnType<typeof currentTenant>>, 'id' | 'name' | 'slug' | 'plan'> & {
  role: string
}
