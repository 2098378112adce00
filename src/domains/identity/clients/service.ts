import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { currentTenant } from '../../tenancy/tenants/service'

/** The tenants that the caller may act in: a user belongs to one, and so does a key, which acts with its maker's role. */
export async function listClients(ctx: Context): Promise<Page<ClientShown>> {
  const { id, name, slug, plan } = await currentTenant(ctx)
  const role = 'role' in ctx.principal ? ctx.principal.role : ''
  return { items: [{ id, name, slug, plan, role }], next_cursor: null }
}

type ClientShown = Pick<Awaited<ReturnType<typeof currentTenant>>, 'id' | 'name' | 'slug' | 'plan'> & {
  role: string
}
