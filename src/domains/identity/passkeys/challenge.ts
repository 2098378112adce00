import { equalInConstantTime, isTaggedBy, type MasterKeys, randomBytes, tagBy } from '../../../lib/crypto'
import { base64url, fromBase64url } from '../../../lib/encoding'

// A challenge is its own proof: random bytes, its end, and an HMAC of both. So asking for options writes nothing, which
// everybody may ask for; what is written is the answer that was taken (table.ts).

/** So long the person may look for the device. */
export const CHALLENGE_MS = 5 * 60_000

const RANDOM_BYTES = 16
const END_BYTES = 8
const BODY_BYTES = RANDOM_BYTES + END_BYTES

/** What a challenge is for; one that was made for another thing, or another user, is none. */
export type Purpose = 'login' | `register:${string}:${string}`

const TAGS = 'passkey-challenge'
const said = (purpose: Purpose, body: Uint8Array<ArrayBuffer>) => `${purpose}\n${base64url(body)}`

/** A new challenge. */
export async function newChallenge(
  keys: MasterKeys,
  purpose: Purpose,
  now: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const body = new Uint8Array(BODY_BYTES)
  body.set(randomBytes(RANDOM_BYTES))
  new DataView(body.buffer).setBigUint64(RANDOM_BYTES, BigInt(now + CHALLENGE_MS))
  return new Uint8Array([...body, ...(await tagBy(keys.MASTER_KEY, TAGS, said(purpose, body)))])
}

/** Whether a challenge, in base64url, was made here for this purpose and is not over. */
export async function isChallenge(
  keys: MasterKeys,
  purpose: Purpose,
  now: number,
  challenge: string,
): Promise<boolean> {
  const bytes = fromBase64url(challenge)
  if (!bytes || bytes.length <= BODY_BYTES || base64url(bytes) !== challenge) return false
  const body = bytes.slice(0, BODY_BYTES)
  const tag = base64url(bytes.slice(BODY_BYTES))
  if (Number(new DataView(body.buffer).getBigUint64(RANDOM_BYTES)) <= now) return false
  const isIt = (made: Uint8Array<ArrayBuffer>) => equalInConstantTime(base64url(made), tag)
  return isTaggedBy(keys, TAGS, said(purpose, body), isIt)
}
