import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose'
import type { RequestContext } from '../../../data/context'
import { base64url, fromBase64url, text } from '../../../lib/encoding'
import { newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { keyRing, verificationKey } from './keys'
import { ACCESS_TOKEN_SECONDS, LEEWAY_SECONDS } from './lifetimes'

/** A longer token is not one of ours, and is not parsed. */
const MAX_TOKEN_BYTES = 8 * 1024

/** What an access token of ours says (RFC 9068). */
export type AccessClaims = {
  sub: string
  tenant_id: string
  sid: string
  jti: string
  role: string
  email: string
  scopes: string[]
  iat: number
  exp: number
}

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now'>

/** Signs an access token: ES256, `typ: at+jwt`. */
export async function signAccessToken(
  caller: Caller,
  user: { id: string; tenant_id: string; role: string; email: string },
  sid: string,
  scopes: readonly string[],
): Promise<string> {
  const { kid, key } = (await keyRing(caller)).signing
  const issued = Math.floor(caller.now / 1000)
  return new SignJWT({
    client_id: user.tenant_id,
    tenant_id: user.tenant_id,
    type: 'access',
    role: user.role,
    email: user.email,
    scope: scopes.join(' '),
    scopes,
    sid,
  })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid })
    .setIssuer(caller.settings.PUBLIC_URL)
    .setAudience(caller.settings.PUBLIC_URL)
    .setSubject(user.id)
    .setJti(newId(caller.now))
    .setIssuedAt(issued)
    .setExpirationTime(issued + ACCESS_TOKEN_SECONDS)
    .sign(key)
}

/**
 * The claims of a token of ours, after RFC 8725 and RFC 9068: ES256 only, our issuer and audience, `typ` and `type`,
 * a time that has not run out, and nothing but strings where strings belong. 401 for everything else.
 */
export async function verifyAccessToken(caller: Caller, token: string): Promise<AccessClaims> {
  if (token.length > MAX_TOKEN_BYTES) throw invalid('The token is too long')
  return claimsOf(await verify(caller, token))
}

/** Whether the time of a token that was verified has run out since. */
export const hasExpired = ({ exp }: Pick<AccessClaims, 'exp'>, now: number): boolean =>
  exp + LEEWAY_SECONDS <= now / 1000

async function verify(caller: Caller, token: string): Promise<JWTPayload> {
  if (!isCanonical(token)) throw invalid('The token is malformed')
  try {
    const { payload } = await jwtVerify(
      token,
      async (header) => {
        // The key comes from our own set by its id; a key or address inside the token is never looked at.
        const key = typeof header.kid === 'string' ? await verificationKey(caller, header.kid) : null
        if (!key) throw invalid('The token was signed by an unknown key')
        return key
      },
      {
        algorithms: ['ES256'],
        issuer: caller.settings.PUBLIC_URL,
        audience: caller.settings.PUBLIC_URL,
        typ: 'at+jwt',
        clockTolerance: LEEWAY_SECONDS,
        currentDate: new Date(caller.now),
        requiredClaims: ['exp', 'iat', 'sub', 'client_id', 'jti', 'sid', 'tenant_id', 'type'],
      },
    )
    return payload
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw tokenExpired()
    if (error instanceof errors.JOSEError) throw invalid('The token is not valid')
    throw error
  }
}

/** We print our tokens with JSON.stringify; one that does not print back the same has doubled or disguised members. */
function isCanonical(token: string): boolean {
  const parts = token.split('.')
  return (
    parts.length === 3 &&
    parts.every((part, i) => {
      const bytes = fromBase64url(part)
      if (!bytes || base64url(bytes) !== part) return false
      return i === 2 || isPrintedJson(text(bytes))
    })
  )
}

function isPrintedJson(json: string): boolean {
  try {
    return JSON.stringify(JSON.parse(json)) === json
  } catch {
    return false
  }
}

function claimsOf(payload: JWTPayload): AccessClaims {
  const { sub, client_id, tenant_id, sid, jti, role, email, scopes, iat, exp, type } = payload
  if (
    type === 'access' &&
    client_id === tenant_id &&
    [sub, tenant_id, sid, jti, role, email].every((claim) => typeof claim === 'string') &&
    typeof iat === 'number' &&
    typeof exp === 'number' &&
    Array.isArray(scopes) &&
    scopes.every((scope) => typeof scope === 'string')
  )
    return { sub, tenant_id, sid, jti, role, email, scopes, iat, exp } as AccessClaims
  throw invalid('The token is not an access token of this service')
}

const invalid = (message: string) => problem.unauthorized('invalid_token', message)
export const tokenExpired = () => problem.unauthorized('token_expired', 'The token has expired')
