import { env } from 'cloudflare:workers'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { base64url, utf8 } from '../../../src/lib/encoding'
import type { Asked, Control, Watched } from '../../receiver/issuers'
import { makeReceiver } from '../../webhooks/receiver'
import { call, callJson, type World } from '../../world'

// The issuers are `oidc-provider`, in Node beside the tests; each test has one of its own.

export const AUDIENCE = 'https://api.example.com'
export const SHARED_SECRET = 'a secret of thirty-two characters and more'

/** One issuer. */
export class TestIssuer {
  readonly iss = `${env.RECEIVER_URL}/issuer/${crypto.randomUUID().slice(0, 8)}`
  readonly jwks_uri = `${this.iss}/jwks`

  /** An access token as the issuer's own token endpoint gives it. */
  async token(asked: Asked): Promise<string> {
    const response = await fetch(`${this.iss}/token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({
        grant_type: 'client_credentials',
        client_id: base64url(utf8(JSON.stringify(asked))),
        client_secret: 'secret',
      }),
    })
    const answer = (await response.json()) as { access_token?: string }
    if (!answer.access_token) throw new Error(`no token: ${JSON.stringify(answer)}`)
    return answer.access_token
  }

  async control(control: Control): Promise<Watched> {
    const init = { method: 'POST', body: JSON.stringify(control) }
    return (await fetch(`${this.iss}/control`, init)).json()
  }

  async watched(): Promise<Watched> {
    return (await fetch(`${this.iss}/control`)).json()
  }
}

export type Configured = { id: string; version: number } & Record<string, unknown>

/** Has a tenant trust an issuer, which adds the users it vouches for unless `fields` say otherwise. */
export async function trust(
  world: World,
  issuer: Pick<TestIssuer, 'iss' | 'jwks_uri'>,
  fields: object = {},
): Promise<Configured> {
  const { iss, jwks_uri } = issuer
  const body = {
    iss,
    aud: AUDIENCE,
    jwks_uri,
    algs: ['RS256', 'ES256', 'EdDSA', 'PS256'],
    provision: true,
    ...fields,
  }
  const made = await callJson<Configured>('POST', '/api/v1/auth/issuers', { token: world.admin.token, body })
  if (made.status !== 201) throw new Error(JSON.stringify(made.error))
  return made.data
}

/** Claims of somebody whose address the issuer has verified. */
export const person = (name = `ada-${crypto.randomUUID().slice(0, 8)}`) => ({
  sub: `sub-${name}`,
  claims: { email: `${name}@example.com`, email_verified: true, name: `Dr ${name}` },
})

/** Who a token is for, asked in a tenant that the request names. */
export const meIn = (world: World, token: string) =>
  call('GET', '/api/v1/auth/me', { token, headers: { 'X-Tenant-ID': world.tenant.id } })

export const meData = async (world: World, token: string) => {
  const { status, data, error } = await callJson<
    { id: string; role: string; email: string } & Record<string, unknown>
  >('GET', '/api/v1/auth/me', { token, headers: { 'X-Tenant-ID': world.tenant.id } })
  if (status !== 200) throw new Error(JSON.stringify(error))
  return data
}

/** An issuer whose private keys the test itself holds, so that what is forged has one flaw alone. */
export class OwnIssuer {
  readonly iss = `https://issuer-${crypto.randomUUID().slice(0, 8)}.example.com/`

  private constructor(
    readonly jwks_uri: string,
    readonly pair: CryptoKeyPair,
    readonly publicJwk: JWK,
  ) {}

  static async make(alg = 'RS256'): Promise<OwnIssuer> {
    const pair = await generateKeyPair(alg, { extractable: true })
    const publicJwk = { ...(await exportJWK(pair.publicKey)), kid: 'own', use: 'sig', alg }
    const receiver = await makeReceiver({ status: 200, body: JSON.stringify({ keys: [publicJwk] }) })
    return new OwnIssuer(receiver.url, pair, publicJwk)
  }

  get alg(): string {
    return String(this.publicJwk.alg)
  }

  /** What a good token says of a person. */
  says(who: { sub: string; claims: object } = person()): Record<string, unknown> {
    const now = Math.floor(Date.now() / 1000)
    return {
      iss: this.iss,
      aud: AUDIENCE,
      sub: who.sub,
      iat: now,
      exp: now + 300,
      jti: crypto.randomUUID(),
      ...who.claims,
    }
  }

  /** A true signature over whatever `payload` is; a text is taken as it is written. */
  async signs(payload: unknown, header: Record<string, unknown> = {}): Promise<string> {
    const head = { alg: this.alg, typ: 'JWT', kid: 'own', ...header }
    const part = (value: unknown) =>
      base64url(utf8(typeof value === 'string' ? value : JSON.stringify(value)))
    const input = `${part(head)}.${part(payload)}`
    const how = this.alg === 'ES256' ? { name: 'ECDSA', hash: 'SHA-256' } : { name: 'RSASSA-PKCS1-v1_5' }
    const signature = await crypto.subtle.sign(how, this.pair.privateKey, utf8(input))
    return `${input}.${base64url(new Uint8Array(signature))}`
  }
}
