import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { isAdmitted } from '../../tenancy/tenants/pinned'
import { type Provider, providerReferences } from './table'

// A provider's webhook is of the tenant for which the provider was asked: who asks it for a checkout, a customer, a
// connection or a call puts the id that it answers with here, in the commit that stores the answer.

/** What asked may still be storing the answer when the first webhook comes. */
const SECOND_LOOK_MS = 1_000

/**
 * Remembers that an id of a provider's is this tenant's: a statement for the batch that stores what the provider
 * answered. Once more changes nothing; an id that is another tenant's fails the batch. Not async: it goes into a batch.
 */
export function referenceStatement(ctx: Context, provider: Provider, reference: string) {
  const { id } = ctx.tenant
  const known = sql`select 1 from provider_references where tenant_id = ${id} and provider = ${provider} and reference = ${reference}`
  return ctx.db
    .insert(providerReferences)
    .select(sql`select ${id}, ${provider}, ${reference}, ${iso(ctx.now)} where not exists (${known})`)
}

/** Forgets an id of a provider's, for the batch that ends what it was of. Not async: it goes into a batch. */
export function forgottenReference(ctx: Context, provider: Provider, reference: string) {
  return ctx.db
    .delete(providerReferences)
    .where(
      and(
        eq(providerReferences.tenant_id, ctx.tenant.id),
        eq(providerReferences.provider, provider),
        eq(providerReferences.reference, reference),
      ),
    )
}

/** Whose tenant it is that a provider's ids were stored for; null where it is nobody's here, or more than one's. */
export async function tenantOfReferences(
  request: RequestContext,
  provider: Provider,
  references: readonly string[],
): Promise<string | null> {
  if (references.length === 0) return null
  let found = await look(request.env, provider, references)
  if (found === undefined) {
    await scheduler.wait(SECOND_LOOK_MS)
    found = await look(request.env, provider, references)
  }
  return found !== undefined && isAdmitted(request, found) ? found : null
}

/** Undefined where none of the ids is known. */
async function look(env: Bindings, provider: Provider, references: readonly string[]) {
  const rows = await directory(env)
    .select({ tenant_id: providerReferences.tenant_id })
    .from(providerReferences)
    .where(
      and(
        eq(providerReferences.provider, provider),
        inArray(
          providerReferences.reference,
          sql`(select value from json_each(${JSON.stringify(references)}))`,
        ),
      ),
    )
  const tenants = new Set(rows.map(({ tenant_id }) => tenant_id))
  if (tenants.size === 0) return undefined
  return tenants.size === 1 ? (rows[0]?.tenant_id ?? null) : null
}
