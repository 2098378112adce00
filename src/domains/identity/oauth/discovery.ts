import * as z from 'zod'
import type { OidcSettings } from '../../../lib/oauth-providers'
import { Remembered } from '../../../lib/remembered'
import { askProvider, failed } from './outgoing'

/** OpenID Connect Discovery 1.0, section 3: what of it is used here. */
const Metadata = z.object({
  issuer: z.string(),
  authorization_endpoint: z.url(),
  token_endpoint: z.url(),
  jwks_uri: z.url(),
  userinfo_endpoint: z.url().optional(),
  token_endpoint_auth_methods_supported: z.array(z.string()).optional(),
  authorization_response_iss_parameter_supported: z.boolean().optional(),
})
export type Metadata = z.output<typeof Metadata>

/** Providers announce a change of their endpoints long before. */
const FRESH_MS = 3600_000
/** While one login reads it again, others go by the one that was read, unless it is older than this. */
const MAX_MS = 24 * 3600_000

const documents = new Remembered<Metadata>(FRESH_MS, MAX_MS, 1_000)

/** Where a provider's endpoints are; 502 where its document can't be had or speaks of another issuer. */
export function metadataOf(settings: OidcSettings, now: number): Promise<Metadata> {
  const url = documentUrl(settings)
  return documents.get(url, now, async () => {
    const { status, body } = await askProvider(url, { headers: { Accept: 'application/json' } })
    const parsed = Metadata.safeParse(body)
    if (status !== 200 || !parsed.success) throw failed(`discovery answered ${status}`)
    const { issuer } = parsed.data
    if (!isIssuerOf(settings, issuer)) throw failed(`discovery speaks of ${issuer}`)
    const endpoints = [parsed.data.token_endpoint, parsed.data.jwks_uri, parsed.data.userinfo_endpoint]
    // Secrets and keys travel as safely as the document did.
    if (url.startsWith('https:') && endpoints.some((one) => one && !one.startsWith('https:')))
      throw failed('discovery names an endpoint that is not https')
    return parsed.data
  })
}

function documentUrl(settings: OidcSettings): string {
  const base =
    settings.kind === 'microsoft' ? `${settings.base_url}/${settings.tenant}/v2.0` : settings.issuer
  return `${base.replace(/\/$/, '')}/.well-known/openid-configuration`
}

/** Section 4.3: the very issuer. Microsoft's document for several directories leaves the directory's id open. */
function isIssuerOf(settings: OidcSettings, issuer: string): boolean {
  if (settings.kind !== 'microsoft') return issuer === settings.issuer
  const directory = issuer.startsWith(`${settings.base_url}/`)
    ? /^([^/]+)\/v2\.0$/.exec(issuer.slice(settings.base_url.length + 1))?.[1]
    : undefined
  if (directory === undefined) return false
  if (isGuid(settings.tenant)) return directory === settings.tenant
  return directory === '{tenantid}' || isGuid(directory)
}

export const isGuid = (value: string): boolean => /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)
