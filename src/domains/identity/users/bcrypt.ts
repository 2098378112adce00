import { bcrypt } from '../../../lib/blowfish'
import { equalInConstantTime } from '../../../lib/crypto'
import { base64, fromBase64, utf8 } from '../../../lib/encoding'

// Hashes that were brought from elsewhere. They are verified as they are, and made anew with scrypt at the next login.

const FORM = /^\$2[aby]\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/

/** bcrypt of cost 13 blocks for half a second; a dearer hash fits nothing, and its user sets a new password by mail. */
export const MOST_COST = 13
/** Below this the algorithm has no cost. */
const LEAST_COST = 4

/** The cost (log2 of the rounds) of a bcrypt hash that can be verified; null for any other text. */
export function bcryptCost(hash: string | null): number | null {
  const cost = Number(FORM.exec(hash ?? '')?.[1] ?? Number.NaN)
  return cost >= LEAST_COST && cost <= MOST_COST ? cost : null
}

/**
 * Whether the password fits the hash. Does the work of one bcrypt of `cost` whatever the hash: where it is a cheaper one,
 * or none at all, the rest is made up (2^c + 2^c + 2^(c+1) + … + 2^(cost-1) = 2^cost), so that nothing shows which it was.
 */
export function verifyBcrypt(
  password: string,
  hash: string | null,
  cost: number,
  compare: (password: string, hash: string) => boolean = fitsHash,
): boolean {
  const own = bcryptCost(hash)
  const fits = compare(password, own === null ? decoy(cost) : (hash ?? ''))
  for (let rest = own ?? cost; rest < cost; rest++) compare(password, decoy(rest))
  return fits && own !== null
}

/** Whether bcrypt makes the hash of the password: `$2b$`, cost, `$`, 22 letters of salt and 31 of the result. */
function fitsHash(password: string, hash: string): boolean {
  const [, cost, salt = '', result = ''] = FORM.exec(hash) ?? []
  const bytes = fromBase64(translated(salt, OWN, STANDARD))
  if (!bytes) return false
  const made = base64(bcrypt(utf8(`${password}\0`), bytes, Number(cost))).slice(0, result.length)
  return equalInConstantTime(translated(made, STANDARD, OWN), result)
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const STANDARD = `${LETTERS}+/`
/** bcrypt's base64 begins with what the standard one ends with. */
const OWN = `./${LETTERS}`

const translated = (text: string, from: string, to: string) =>
  text.replace(/./g, (letter) => to[from.indexOf(letter)] ?? '')

/** A hash that nobody knows a password of. */
const decoy = (cost: number) => `$2b$${String(cost).padStart(2, '0')}$${'.'.repeat(53)}`
