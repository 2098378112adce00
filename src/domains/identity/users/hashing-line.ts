import { problem } from '../../../lib/problem'

// Hashing a password blocks the isolate for a tenth of a second, and everything else waits with it. So there is one line
// for all of it, and between two hashes everybody else has a turn.

/** Who would wait for more hashes than this is refused. */
const MOST_AHEAD = 10

/** How long other requests have the isolate to themselves between two hashes: a few turns of the event loop. */
const BREATH_MS = 5

/** A waiter looks every millisecond, or after the hash before its own; one that has not for two seconds is gone. */
const GONE_MS = 2_000

/** Does one hash when it is its turn. */
export type Hashing = <T>(hash: () => T) => Promise<T>

type Place = { seen: number; breathedAt: number; left: number }
const line: Place[] = []
let done = 0

/** How many hashes this isolate made: what a request costs, told by work and not by a clock. */
export const hashesMade = (): number => done

/**
 * Takes one place in the line for all the `hashes` that a request needs, so that it waits for at most ten of others and is
 * refused at once or not at all: 503 `login_busy`. Between its hashes `work` must wait for nothing else.
 */
export async function inLine<T>(hashes: number, work: (hashing: Hashing) => Promise<T>): Promise<T> {
  dropAbandoned()
  const ahead = line.reduce((sum, { left }) => sum + left, 0)
  if (ahead > MOST_AHEAD)
    throw problem('login_busy', 'Too many logins at once', { headers: { 'Retry-After': '2' } })
  const place: Place = { seen: Date.now(), breathedAt: done, left: hashes }
  line.push(place)
  try {
    return await work((hash) => inTurn(place, hash))
  } finally {
    const at = line.indexOf(place)
    if (at >= 0) line.splice(at, 1)
  }
}

/**
 * Each waiter watches the line by itself instead of awaiting the one before it: a request whose client has left stops
 * running without a word, and a chain of promises would stop with it.
 */
async function inTurn<T>(place: Place, hash: () => T): Promise<T> {
  // The first turn is given up as well, so that other requests are answered between two hashes.
  for (let pause = 1; pause > 0; pause = patience(place)) {
    await scheduler.wait(pause)
    place.seen = Date.now()
    dropAbandoned()
  }
  done += 1
  place.left = Math.max(1, place.left - 1)
  return hash()
}

/** How long a place still has to wait, in milliseconds. Its timer was due all through the hash before its own. */
function patience(place: Place): number {
  if (line[0] !== place && line.includes(place)) return 1
  const rested = place.breathedAt === done
  place.breathedAt = done
  return rested ? 0 : BREATH_MS
}

function dropAbandoned(): void {
  const now = Date.now()
  for (let i = line.length - 1; i >= 0; i--) if (now - (line[i]?.seen ?? 0) > GONE_MS) line.splice(i, 1)
}
