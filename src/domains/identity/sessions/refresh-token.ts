import { deriveKey, hmac, hmacKey, randomBytes, sha256 } from '../../../lib/crypto'
import { base64url, utf8 } from '../../../lib/encoding'

/** Seven days (identity.md). */
export const REFRESH_TOKEN_SECONDS = 7 * 24 * 3600

/** 256 random bits; only `hashOf` of it is kept. */
export function newRefreshToken(): string {
  return base64url(randomBytes(32))
}

/** The hash under which a token is kept. */
export function hashOf(token: string): Promise<string> {
  return sha256(token)
}

/**
 * The token that follows `token`: an HMAC of it under a server key. A client that races with itself is given the same
 * successor twice, although nothing but hashes is kept.
 */
export async function successorOf(masterKey: string, token: string): Promise<string> {
  const key = await hmacKey(await deriveKey(masterKey, 'refresh-successor'))
  return base64url(await hmac(key, utf8(token)))
}
