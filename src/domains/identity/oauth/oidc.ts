import * as z from 'zod'
import type { OidcSettings } from '../../../lib/oauth-providers'
import { type Metadata, metadataOf } from './discovery'
import { type IdClaims, verifyIdToken } from './id-token'
import { addressOf, type Identity, nameOf } from './identity'
import { askProvider, failed } from './outgoing'
import { type Asking, challengeOf, oauthRefused, type Provider, type Returned } from './provider'

const TokenAnswer = z.object({ id_token: z.string().min(1), access_token: z.string().min(1).optional() })
const ErrorAnswer = z.object({ error: z.string() })
const UserInfo = z.looseObject({ sub: z.string() })
type Claims = Record<string, unknown>

/** The directory of personal Microsoft accounts, which makes sure of every address (learn.microsoft.com, id token claims). */
const PERSONAL_ACCOUNTS = '9188040d-6c67-4c5b-b112-36a304b66dad'

/** Any provider of OpenID Connect, Google and Microsoft among them. */
export class OidcProvider implements Provider {
  constructor(private readonly settings: OidcSettings) {}

  async authorizationUrl({ redirectUri, state, nonce, verifier, now }: Asking): Promise<string> {
    const metadata = await metadataOf(this.settings, now)
    const url = new URL(metadata.authorization_endpoint)
    const params = {
      response_type: 'code',
      client_id: this.settings.client_id,
      redirect_uri: redirectUri,
      scope: 'openid email profile',
      ...{ state, nonce },
      ...(await challengeOf(verifier)),
    }
    for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value)
    return url.href
  }

  async identify(returned: Returned): Promise<Identity> {
    const metadata = await metadataOf(this.settings, returned.now)
    this.refuseOtherIssuer(metadata, returned.iss)
    const { id_token, access_token } = await this.tokensFor(metadata, returned)
    const { nonce, now } = returned
    const claims = await verifyIdToken(id_token, this.settings, metadata, {
      ...{ nonce, now },
      accessToken: access_token,
    })
    const told = await this.withAddress(metadata, claims, access_token)
    return {
      issuer: claims.iss,
      subject: claims.sub,
      email: addressOf(told.email),
      email_verified: this.vouchesFor(told),
      name: nameOf(told.name),
    }
  }

  /** RFC 9207: a code that another provider gave is not shown to this one. */
  private refuseOtherIssuer(metadata: Metadata, iss: string | undefined): void {
    const required = metadata.authorization_response_iss_parameter_supported === true
    if (iss === undefined ? required : iss !== metadata.issuer)
      throw oauthRefused('The answer came from another provider')
  }

  private async tokensFor(metadata: Metadata, { code, redirectUri, verifier }: Returned) {
    const { headers, params } = this.credentials(metadata)
    const { status, body } = await askProvider(metadata.token_endpoint, {
      method: 'POST',
      headers: { Accept: 'application/json', ...headers },
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        redirect_uri: redirectUri,
        code_verifier: verifier,
        ...params,
      }),
    })
    const answer = TokenAnswer.safeParse(body)
    if (status === 200 && answer.success) return answer.data
    const { data } = ErrorAnswer.safeParse(body)
    // RFC 6749, 5.2: made up, used before, too old, or not ours.
    if (data?.error === 'invalid_grant') throw oauthRefused('The provider refused the code')
    throw failed(`token endpoint answered ${status} ${data?.error ?? ''}`)
  }

  /** How the client proves itself (RFC 6749, 2.3.1); Basic unless the provider takes none. */
  private credentials({ token_endpoint_auth_methods_supported: methods }: Metadata) {
    const { client_id, client_secret } = this.settings
    const byBasic = methods === undefined || methods.includes('client_secret_basic')
    if (!byBasic) return { headers: {}, params: { client_id, client_secret } }
    const pair = [client_id, client_secret].map((one) => new URLSearchParams({ one }).toString().slice(4))
    return { headers: { Authorization: `Basic ${btoa(pair.join(':'))}` }, params: {} }
  }

  /** The claims with the address: section 5.4 lets a provider keep it for the userinfo endpoint. */
  private async withAddress(
    { userinfo_endpoint }: Metadata,
    claims: IdClaims,
    token: string | undefined,
  ): Promise<Claims> {
    if (claims.email !== undefined || userinfo_endpoint === undefined || token === undefined) return claims
    // What Microsoft says of an address (vouchesFor) it says of the one in the token.
    if (this.settings.kind === 'microsoft') return claims
    const headers = { Accept: 'application/json', Authorization: `Bearer ${token}` }
    const { status, body } = await askProvider(userinfo_endpoint, { headers })
    const info = UserInfo.safeParse(body)
    if (status !== 200 || !info.success) throw failed(`userinfo answered ${status}`)
    // Section 5.3.2.
    if (info.data.sub !== claims.sub) throw oauthRefused('The provider speaks of two people')
    const { email, email_verified, name } = info.data
    return { ...claims, email, email_verified, name }
  }

  /**
   * Whether the provider made sure of the address. A directory at Microsoft lets its administrator write any address
   * into it ("nOAuth"), so there only a domain counts that the directory owns (`xms_edov`), or a personal account.
   */
  private vouchesFor(claims: Claims): boolean {
    const yes = (value: unknown) => value === true || value === 'true'
    if (this.settings.kind !== 'microsoft') return yes(claims.email_verified)
    const { xms_edov, tid } = claims
    return tid === PERSONAL_ACCOUNTS || yes(xms_edov) || xms_edov === 1 || xms_edov === '1'
  }
}
