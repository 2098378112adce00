import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import type { RequestContext } from '../../../data/context'
import { sha256 } from '../../../lib/crypto'
import { base64url, fromBase64url, text, utf8 } from '../../../lib/encoding'
import { hasDoubledMembers } from '../../../lib/json-members'
import { problem } from '../../../lib/problem'
import { tokenExpired } from '../tokens/access-token'
import { issuerKey } from './jwks'
import type { Rule } from './rules'

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now' | 'defer'>

/** RFC 8725, section 3.8 leaves the skew open; 30 s covers clocks kept by NTP. */
export const LEEWAY_SECONDS = 30
const MAX_TOKEN_BYTES = 8 * 1024
const MOST_SUBJECT = 255

/** What a token of another issuer says, once it was verified. */
export type IssuedClaims = JWTPayload & { sub: string; exp: number }

const invalid = (message: string) => problem.unauthorized('invalid_token', message)

/** Whom a token names as its issuer and audience, before anything of it was verified; null for what is no JWT. */
export function namedIn(token: string): { iss: string; aud: string[] } | null {
  const payload = token.length <= MAX_TOKEN_BYTES ? memberOf(token, 1) : null
  if (!payload) return null
  const { iss, aud } = payload
  const named = [aud ?? []].flat().filter((one) => typeof one === 'string')
  return typeof iss === 'string' ? { iss, aud: named } : null
}

/** The object that one part of a token spells; null where it spells none, or one on which readers may differ. */
function memberOf(token: string, part: 0 | 1): Record<string, unknown> | null {
  const parts = token.split('.')
  const bytes = parts.length === 3 && parts.every(isCanonical) ? fromBase64url(parts[part] ?? '') : null
  if (!bytes) return null
  const json = text(bytes)
  try {
    const value: unknown = JSON.parse(json)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject && !hasDoubledMembers(json) ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

/** One spelling for the same bytes (RFC 7515, appendix C, with the bits that are left over zero). */
function isCanonical(part: string): boolean {
  const bytes = fromBase64url(part)
  return bytes !== null && base64url(bytes) === part
}

/**
 * The claims of a token by an issuer's rule, after RFC 8725 and RFC 9068: its algorithms and its own keys alone, issuer,
 * audience, type, a time that has not run out. 401 for everything else; 503 where the issuer's keys can't be had.
 */
export async function verifyIssuedToken(caller: Caller, rule: Rule, token: string): Promise<IssuedClaims> {
  const header = memberOf(token, 0)
  if (!header || !memberOf(token, 1)) throw invalid('The token is malformed')
  if (!isOfType(rule, header.typ)) throw invalid('The token is of another type')
  const payload = await verify(caller, rule, token)
  if (isOtherKind(payload) || !saysWhatIsRequired(rule, payload))
    throw invalid('The token is not an access token for this service')
  const { sub, exp } = payload
  if (typeof sub !== 'string' || sub === '' || sub.length > MOST_SUBJECT || exp === undefined)
    throw invalid('The token names nobody')
  return { ...payload, sub, exp }
}

async function verify(caller: Caller, rule: Rule, token: string): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, keyOf(caller, rule), {
      algorithms: [...rule.algs],
      issuer: rule.iss,
      audience: rule.aud,
      clockTolerance: LEEWAY_SECONDS,
      currentDate: new Date(caller.now),
      requiredClaims: ['exp', 'sub', 'iss', 'aud'],
    })
    return payload
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw tokenExpired()
    if (error instanceof errors.JOSEError) throw invalid('The token is not valid')
    throw error
  }
}

/** The key comes from what was configured; a key or an address inside of the token is never looked at. */
function keyOf(caller: Caller, rule: Rule): JWTVerifyGetKey {
  return async ({ alg, kid }) => {
    const { keys } = rule
    if ('secret' in keys) return utf8(keys.secret)
    const of = await sha256(JSON.stringify([rule.edition, rule.iss, rule.aud, keys]))
    const name = `${rule.tenant_id ?? 'service'}:${of}`
    const key = await issuerKey(caller, { name, source: keys }, { alg, kid })
    if (!key) throw invalid('The token was signed by an unknown key')
    return key
  }
}

/** RFC 8725, section 3.11. `application/` may be left out (RFC 7515, section 4.1.9). */
function isOfType({ typ }: Rule, given: unknown): boolean {
  if (given === undefined) return typ === 'optional'
  if (typeof given !== 'string') return false
  const type = given.toLowerCase().replace(/^application\//, '')
  return type === 'at+jwt' || (typ !== 'at+jwt' && type === 'jwt')
}

/** How issuers that call every token a JWT tell ID tokens and refresh tokens from access tokens. */
function isOtherKind({ at_hash, c_hash, token_use, typ, type }: JWTPayload): boolean {
  // Only an ID token has these (OIDC Core, sections 3.1.3.6 and 3.3.2.11).
  if (at_hash !== undefined || c_hash !== undefined) return true
  // Cognito; Keycloak; and ourselves.
  if (token_use !== undefined && token_use !== 'access') return true
  return [typ, type].some((kind) => typeof kind === 'string' && /^(?:id|refresh|offline|logout)$/i.test(kind))
}

const saysWhatIsRequired = ({ require }: Rule, payload: JWTPayload): boolean =>
  Object.entries(require).every(([name, value]) => Object.hasOwn(payload, name) && payload[name] === value)
