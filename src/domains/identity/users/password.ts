import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto'
import { problem } from '../../../lib/problem'
import { COMMON_PASSWORDS } from './common-passwords'

// OWASP Password Storage Cheat Sheet: scrypt with N=2^14, r=8, p=5 needs 16 MiB and some 130 ms here; larger N would
// not fit an isolate's 128 MB. The parameters stand in the PHC string, so they can rise without losing anyone.
const PARAMETERS = { N: 2 ** 14, r: 8, p: 5 }
const KEY_LENGTH = 32
const MAX_MEMORY = 64 * 1024 * 1024

/** More waiting than this is refused: hashing blocks the isolate, and everything else waits with it. */
const MOST_WAITING = 10

const PHC = /^\$scrypt\$ln=(\d+),r=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/

/** Why a new password is refused, or null: 10 to 200 characters, and none of the commonest. */
export function passwordRefusal(password: string): string | null {
  const length = [...password].length
  if (length < 10) return 'must have at least 10 characters'
  if (length > 200) return 'must have at most 200 characters'
  if (COMMON_PASSWORDS.has(password.toLowerCase())) return 'is one of the commonest passwords; choose another'
  return null
}

/** The PHC string of a password. Waits its turn; 503 `login_busy` when ten wait already. */
export function hashPassword(password: string): Promise<string> {
  return inTurn(() => {
    const salt = randomBytes(16)
    const { N, r, p } = PARAMETERS
    const key = scryptSync(password.normalize('NFKC'), salt, KEY_LENGTH, { N, r, p, maxmem: MAX_MEMORY })
    return `$scrypt$ln=${Math.log2(N)},r=${r},p=${p}$${unpadded(salt)}$${unpadded(key)}`
  })
}

/** Whether the password fits the PHC string; a missing or foreign string costs the same and fits nothing. */
export function verifyPassword(password: string, phc: string | null): Promise<boolean> {
  return inTurn(() => {
    const [, ln, r, p, salt, expected] = PHC.exec(phc ?? DECOY) ?? PHC.exec(DECOY) ?? []
    const options = { N: 2 ** Number(ln), r: Number(r), p: Number(p), maxmem: MAX_MEMORY }
    const wanted = Buffer.from(expected ?? '', 'base64')
    const key = scryptSync(
      password.normalize('NFKC'),
      Buffer.from(salt ?? '', 'base64'),
      wanted.length,
      options,
    )
    return timingSafeEqual(key, wanted) && phc !== null && phc !== DECOY
  })
}

/** Whether a hash was made with weaker parameters than today's. */
export function needsRehash(phc: string): boolean {
  const [, ln, r, p] = PHC.exec(phc) ?? []
  return 2 ** Number(ln) !== PARAMETERS.N || Number(r) !== PARAMETERS.r || Number(p) !== PARAMETERS.p
}

/** What is hashed against when there is no such user, so that both answers take the same work. */
export const DECOY = `$scrypt$ln=14,r=8,p=5$${'A'.repeat(22)}$${'A'.repeat(43)}`

const unpadded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replaceAll('=', '')

type Ticket = { seen: number; hashes: number }
const queue: Ticket[] = []
let hashes = 0

/** How long other requests have the isolate to themselves between two hashes: a few turns of the event loop. */
const BREATH_MS = 5

/**
 * One hash at a time. Each waiter watches the queue by itself instead of awaiting the one before it: a request whose
 * client has left stops running without a word, and a chain of promises would stop with it.
 */
async function inTurn<T>(work: () => T): Promise<T> {
  dropAbandoned()
  if (queue.length > MOST_WAITING)
    throw problem('login_busy', 'Too many logins at once', { headers: { 'Retry-After': '2' } })
  const ticket: Ticket = { seen: Date.now(), hashes }
  queue.push(ticket)
  try {
    // The first turn is given up as well, so that other requests are answered between two hashes.
    for (let pause = 1; pause > 0; pause = patience(ticket)) {
      await scheduler.wait(pause)
      ticket.seen = Date.now()
      dropAbandoned()
    }
    hashes += 1
    return work()
  } finally {
    const at = queue.indexOf(ticket)
    if (at >= 0) queue.splice(at, 1)
  }
}

/** How long a ticket still has to wait, in milliseconds. Its timer was due all through the hash before its own. */
function patience(ticket: Ticket): number {
  if (queue[0] !== ticket && queue.includes(ticket)) return 1
  const rested = ticket.hashes === hashes
  ticket.hashes = hashes
  return rested ? 0 : BREATH_MS
}

/** A waiter looks every millisecond, or after the hash before it; one that has not for two seconds is gone. */
function dropAbandoned(): void {
  const now = Date.now()
  for (let i = queue.length - 1; i >= 0; i--) if (now - (queue[i]?.seen ?? 0) > 2000) queue.splice(i, 1)
}
