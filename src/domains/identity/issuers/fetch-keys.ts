import type { Settings } from '../../../env'
import { askJson } from '../../../lib/ask-json'
import { refusalOfUrl } from '../../../lib/safe-url'

/** Where an issuer's keys are: at an address, or where its discovery document says. */
export type KeySource = { jwks_uri: string } | { discover: string }

/** One look at an issuer takes no longer, its answer's body included. */
export const FETCH_MS = 4_000

/** The document of an issuer's public keys, from nowhere but its source. Throws what the log may say. */
export async function fetchKeys(source: KeySource, settings: Settings): Promise<unknown> {
  const signal = AbortSignal.timeout(FETCH_MS)
  if ('jwks_uri' in source) return fetchJson(source.jwks_uri, settings, signal)
  // OIDC Discovery 1.0, section 4: the path is added to the issuer’s own, and the document must name that very issuer.
  const address = `${source.discover.replace(/\/$/, '')}/.well-known/openid-configuration`
  const document = (await fetchJson(address, settings, signal)) as Record<string, unknown> | null
  if (document?.issuer !== source.discover) throw new Error('the discovery document is another issuer’s')
  if (typeof document.jwks_uri !== 'string') throw new Error('the discovery document names no jwks_uri')
  return fetchJson(document.jwks_uri, settings, signal)
}

async function fetchJson(url: string, settings: Settings, signal: AbortSignal): Promise<unknown> {
  const refusal = await refusalOfUrl(url, settings)
  if (refusal) throw new Error(`the URL ${refusal}`)
  const headers = { Accept: 'application/json', 'User-Agent': 'Causeway/1' }
  const { body } = await askJson(url, { headers, signal }, (status) => status >= 200 && status < 300)
  return body
}
