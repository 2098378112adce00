import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose'
import { equalInConstantTime } from '../../../lib/crypto'
import { base64url, utf8 } from '../../../lib/encoding'
import type { OidcSettings } from '../../../lib/oauth-providers'
import { Problem } from '../../../lib/problem'
import { isGuid, type Metadata } from './discovery'
import { keysAt } from './key-set'
import { oauthRefused } from './provider'

/** Signatures by a key pair. HMAC would be keyed by the client's secret, which is no key. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519']
/** As for our own tokens. */
const LEEWAY_SECONDS = 30
/** A longer one is not parsed; directories put a person's groups into it. */
const MAX_BYTES = 32 * 1024

export type IdClaims = JWTPayload & { sub: string; iss: string }

/** The claims of an id token after OpenID Connect Core, 3.1.3.7; 401 `oauth_refused` where it does not hold. */
export async function verifyIdToken(
  token: string,
  settings: OidcSettings,
  metadata: Metadata,
  expected: { nonce: string; accessToken: string | undefined; now: number },
): Promise<IdClaims> {
  try {
    if (token.length > MAX_BYTES) throw refused('is too long')
    const issuer = issuerFor(settings, metadata, token)
    const belongs = (keyIssuer: string | undefined) =>
      keyIssuer === undefined || keyIssuer.replace('{tenantid}', tenantIn(issuer)) === issuer
    const { payload, protectedHeader } = await jwtVerify(
      token,
      keysAt(metadata.jwks_uri, expected.now, belongs),
      {
        algorithms: ALGORITHMS,
        issuer,
        audience: settings.client_id,
        clockTolerance: LEEWAY_SECONDS,
        currentDate: new Date(expected.now),
        requiredClaims: ['exp', 'iat', 'sub', 'nonce'],
      },
    )
    // RFC 8725, 3.11: an access token or a logout token of the same issuer is none.
    if (protectedHeader.typ !== undefined && protectedHeader.typ.toUpperCase() !== 'JWT')
      throw refused('is a token of another kind')
    refuseOtherParty(payload, settings.client_id)
    refuseOtherNonce(payload, expected.nonce)
    await refuseOtherAccessToken(payload, protectedHeader.alg, expected.accessToken)
    if (typeof payload.sub !== 'string' || payload.sub === '' || payload.sub.length > 255)
      throw refused('names nobody')
    return { ...payload, sub: payload.sub, iss: issuer }
  } catch (error) {
    if (error instanceof Problem) throw error
    if (error instanceof errors.JOSEError) throw refused('is not valid', error)
    throw error
  }
}

/** The issuer that a token must name; with Microsoft that of the directory it speaks for, which is well-formed. */
function issuerFor(settings: OidcSettings, { issuer }: Metadata, token: string): string {
  if (settings.kind !== 'microsoft' || !issuer.includes('{tenantid}')) return issuer
  const { tid } = decodeJwt(token)
  if (typeof tid !== 'string' || !isGuid(tid)) throw refused('names no directory')
  return issuer.replace('{tenantid}', tid)
}

/** The directory in an issuer of Microsoft's. */
const tenantIn = (issuer: string) => new URL(issuer).pathname.split('/').at(-2) ?? ''

/** The token must be for us alone: another audience could have been given it too, and passed it on. */
function refuseOtherParty({ aud, azp }: JWTPayload, clientId: string): void {
  if ([aud].flat().length > 1 && azp === undefined) throw refused('is for several audiences')
  if (azp !== undefined && azp !== clientId) throw refused('is for another client')
}

function refuseOtherNonce({ nonce }: JWTPayload, expected: string): void {
  if (typeof nonce !== 'string' || !equalInConstantTime(nonce, expected))
    throw refused('belongs to another login')
}

/** Section 3.1.3.6: the left half of the hash that the signature uses. EdDSA names none, so nothing is compared. */
async function refuseOtherAccessToken(
  { at_hash }: JWTPayload,
  algorithm: string,
  accessToken: string | undefined,
): Promise<void> {
  if (at_hash === undefined || accessToken === undefined || !algorithm.endsWith('256')) return
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(accessToken)))
  if (at_hash !== base64url(digest.subarray(0, digest.length / 2)))
    throw refused('belongs to another access token')
}

function refused(why: string, cause?: unknown): Problem {
  return oauthRefused(`The id token ${why}`, cause)
}
