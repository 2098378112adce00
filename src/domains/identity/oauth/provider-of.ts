import type { Settings } from '../../../env'
import { problem } from '../../../lib/problem'
import { GithubProvider } from './github'
import { OidcProvider } from './oidc'
import type { Provider } from './provider'

/** A provider under its name here. */
export type Configured = { name: string; adapter: Provider }

/** The provider that OAUTH_PROVIDERS names so; 404 where there is none. */
export function providerOf(settings: Settings, name: string): Configured {
  // The record is made by JSON.parse, and has a prototype.
  const found = Object.hasOwn(settings.OAUTH_PROVIDERS, name) ? settings.OAUTH_PROVIDERS[name] : undefined
  if (!found) throw problem.notFound('provider', name)
  return { name, adapter: found.kind === 'github' ? new GithubProvider(found) : new OidcProvider(found) }
}
