import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto'
import { bcryptCost, verifyBcrypt } from './bcrypt'
import { COMMON_PASSWORDS } from './common-passwords'
import { inLine } from './hashing-line'

// OWASP Password Storage Cheat Sheet: scrypt with N=2^14, r=8, p=5 needs 16 MiB and some 130 ms here; larger N would
// not fit an isolate's 128 MB. The parameters stand in the PHC string, so they can rise without losing anyone.
const PARAMETERS = { N: 2 ** 14, r: 8, p: 5 }
const KEY_LENGTH = 32
const MAX_MEMORY = 64 * 1024 * 1024

// A key of less than 16 bytes is none: one that was cut off must not fit everything.
const PHC = /^\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([A-Za-z0-9+/]{22,})\$([A-Za-z0-9+/]{22,})$/

/** Why a new password is refused, or null: 10 to 200 characters, and none of the commonest. */
export function passwordRefusal(password: string): string | null {
  // As it is hashed: what is ten letters in another spelling must not be five of them there, nor a common password.
  const hashed = password.normalize('NFKC')
  if ([...hashed].length < 10) return 'must have at least 10 characters'
  if ([...password].length > 200) return 'must have at most 200 characters'
  if (COMMON_PASSWORDS.has(hashed.toLowerCase())) return 'is one of the commonest passwords; choose another'
  return null
}

/** The PHC string of a password. Waits its turn; 503 `login_busy` where ten hashes wait already. */
export function hashPassword(password: string): Promise<string> {
  return inLine(1, (hashing) => hashing(() => scrypt(password)))
}

/** Whether the password fits the PHC string; a missing or foreign string costs the same and fits nothing. */
export async function verifyPassword(password: string, stored: string | null): Promise<boolean> {
  const [fits] = await verifyEach(password, [stored], bcryptCost(stored))
  return fits ?? false
}

/**
 * Whether the password fits each of the stored hashes. Each costs one scrypt, there or not, and one bcrypt of `cost` where
 * that is not null (`importedCost`): so the work says nothing of what is stored. 503 `login_busy` before any of it.
 */
export function verifyEach(
  password: string,
  stored: (string | null)[],
  cost: number | null,
): Promise<boolean[]> {
  return inLine(stored.length * (cost === null ? 1 : 2), async (hashing) => {
    const fitting: boolean[] = []
    for (const one of stored) {
      const byScrypt = await hashing(() => fitsScrypt(password, one))
      const byBcrypt = cost === null ? false : await hashing(() => verifyBcrypt(password, one, cost))
      fitting.push(byScrypt || byBcrypt)
    }
    return fitting
  })
}

function scrypt(password: string): string {
  const salt = randomBytes(16)
  const { N, r, p } = PARAMETERS
  const key = scryptSync(password.normalize('NFKC'), salt, KEY_LENGTH, { N, r, p, maxmem: MAX_MEMORY })
  return `$scrypt$ln=${Math.log2(N)},r=${r},p=${p}$${unpadded(salt)}$${unpadded(key)}`
}

function fitsScrypt(password: string, phc: string | null): boolean {
  const known = PHC.exec(phc ?? '')
  const [, ln, r, p, salt, expected] = known ?? PHC.exec(DECOY) ?? []
  const options = { N: 2 ** Number(ln), r: Number(r), p: Number(p), maxmem: MAX_MEMORY }
  const wanted = Buffer.from(expected ?? '', 'base64')
  const given = password.normalize('NFKC')
  const key = scryptSync(given, Buffer.from(salt ?? '', 'base64'), wanted.length, options)
  return timingSafeEqual(key, wanted) && known !== null && phc !== DECOY
}

/** Whether a hash was made with weaker parameters than today's. */
export function needsRehash(phc: string): boolean {
  const [, ln, r, p] = PHC.exec(phc) ?? []
  return 2 ** Number(ln) !== PARAMETERS.N || Number(r) !== PARAMETERS.r || Number(p) !== PARAMETERS.p
}

/** What is hashed against when there is no such user, so that both answers take the same work. */
export const DECOY = `$scrypt$ln=14,r=8,p=5$${'A'.repeat(22)}$${'A'.repeat(43)}`

const unpadded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replaceAll('=', '')
