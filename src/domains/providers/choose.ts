import type { Context } from '../../data/context'
import { find } from '../../data/revise'
import { problem } from '../../lib/problem'
import type { Provider } from '../../lib/provider-fetch'
import { secretsNamed, type Usable } from '../secrets/service'
import { mayGoTo } from '../secrets/template'
import { operatorsProvider, type ProviderKind, secretOf, urlOf } from './kinds'
import { type ProviderRow, providers } from './table'

/**
 * The account through which something is done for the tenant: its own first, then the operator's; null where there is
 * neither. Credit is bought through the operator's `stripe` alone. 409 where the key of its own is gone, or may not go to
 * where the provider is: nothing is done through another account than the one that was meant.
 */
export async function providerOf(ctx: Context, kind: ProviderKind): Promise<Provider | null> {
  return kind === 'stripe' ? operatorsProvider(ctx.settings, kind) : chosenProvider(ctx, kind)
}

async function chosenProvider(ctx: Context, kind: ProviderKind): Promise<Provider | null> {
  const name = secretOf(kind)
  const [row, secrets] = await Promise.all([find(ctx, providers, kind), secretsNamed(ctx, [name])])
  if (!row) return operatorsProvider(ctx.settings, kind)
  const secret = secrets.get(name)
  const unusable = problemOf(kind, row, secret)
  if (!secret || unusable !== null)
    throw problem('provider_not_configured', `Your own ${kind} provider can’t be used: ${unusable}`, {
      details: { kind, secret: name },
    })
  const { provider, options } = row
  return { name: provider, api_key: await secret.open(), base_url: baseOf(kind, row), options, own: true }
}

/** Where a tenant's own account is. */
export const baseOf = (kind: ProviderKind, { base_url }: Pick<ProviderRow, 'base_url'>): string =>
  base_url ?? urlOf(kind)

/** Why a tenant's own account can't be used; null where it can. */
export function problemOf(kind: ProviderKind, row: ProviderRow, secret: Usable | undefined): string | null {
  const { hostname } = new URL(baseOf(kind, row))
  if (!secret) return `its key, the secret ${secretOf(kind)}, is gone`
  return mayGoTo(secret.hosts, hostname)
    ? null
    : `its key, the secret ${secretOf(kind)}, may not go to ${hostname}`
}

/** As `providerOf`; 409 `provider_not_configured` where there is neither. */
export async function neededProvider(ctx: Context, kind: ProviderKind): Promise<Provider> {
  const provider = await providerOf(ctx, kind)
  if (provider) return provider
  throw problem('provider_not_configured', `There is no ${kind} provider: neither yours nor the operator’s`, {
    details: { kind },
  })
}
