import { type MasterKeys, masterKeys, randomBytes, sha256, tagBy } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'

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

/** A token that may follow another, and the hash under which it is kept. */
export type Successor = { token: string; hash: string }

/**
 * The token that follows `token`, first, and those that would have followed it under the master keys before. It is an HMAC
 * of it under a server key: a client that races with itself is given the same successor twice, although nothing but hashes
 * is kept.
 */
export function successorsOf(keys: MasterKeys, token: string): Promise<[Successor, ...Successor[]]> {
  const [current, ...previous] = masterKeys(keys).map((masterKey) => successorOf(masterKey, token))
  return Promise.all([current ?? successorOf(keys.MASTER_KEY, token), ...previous])
}

async function successorOf(masterKey: string, token: string): Promise<Successor> {
  const next = base64url(await tagBy(masterKey, 'refresh-successor', token))
  return { token: next, hash: await hashOf(next) }
}
