import { compareSync } from 'bcryptjs'

// Hashes that were brought from elsewhere. They are verified as they are, and made anew with scrypt at the next login.

const FORM = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

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
  compare: (password: string, hash: string) => boolean = compareSync,
): boolean {
  const own = bcryptCost(hash)
  const fits = compare(password, own === null ? decoy(cost) : (hash ?? ''))
  for (let rest = own ?? cost; rest < cost; rest++) compare(password, decoy(rest))
  return fits && own !== null
}

/** A hash that nobody knows a password of. */
const decoy = (cost: number) => `$2b$${String(cost).padStart(2, '0')}$${'.'.repeat(53)}`
