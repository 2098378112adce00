import type { Bindings, EventNudge } from '../env'

// One send at a time per isolate, and a short while between two: what is committed meanwhile goes with the next, all at
// once. A quiet service nudges at once; a busy one makes a tenth of the calls, each of which costs as much as a small
// statement.

/** Cloudflare Queues takes so many messages at once. */
const MOST_AT_ONCE = 100
/** A busy service's events wait no longer than this, and its consumer gets them in batches. */
const BETWEEN_SENDS_MS = 10
/** Who finds a send under way looks again after so long. */
const LOOK_AGAIN_MS = 20
/** A send under way for so long may have died with the request that made it; the next does not wait for it. */
const GIVEN_UP_MS = 500
/** Who sends for the others hands over in good time: work after an answer is cut off after 30 s. */
const TURN_MS = 5_000

let waiting: EventNudge[] = []
let sendingSince: number | null = null

/**
 * Resolves when the queue was nudged for `event`, by this request or by another that took it along. No other request's
 * promise is awaited, since that may never end: each looks for itself whether its event still waits.
 */
export async function nudge(env: Pick<Bindings, 'EVENTS_QUEUE'>, event: EventNudge): Promise<void> {
  waiting.push(event)
  while (waiting.includes(event)) {
    const busy = sendingSince !== null && Date.now() - sendingSince < GIVEN_UP_MS
    if (busy) await sleep(LOOK_AGAIN_MS)
    else await sendWaiting(env)
  }
}

async function sendWaiting(env: Pick<Bindings, 'EVENTS_QUEUE'>): Promise<void> {
  const until = Date.now() + TURN_MS
  try {
    while (waiting.length > 0 && Date.now() < until) {
      sendingSince = Date.now()
      const [first, ...others] = waiting.slice(0, MOST_AT_ONCE)
      waiting = waiting.slice(MOST_AT_ONCE)
      if (first && others.length === 0) await env.EVENTS_QUEUE.send(first)
      else if (first) await env.EVENTS_QUEUE.sendBatch([first, ...others].map((body) => ({ body })))
      await sleep(BETWEEN_SENDS_MS)
    }
  } finally {
    sendingSince = null
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
