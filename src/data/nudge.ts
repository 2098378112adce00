import type { Bindings, EventNudge } from '../env'

// One send at a time per isolate, and a short while between two: what is committed meanwhile goes with the next, all at
// once. A quiet service nudges at once; a busy one makes a tenth of the calls, each of which costs as much as a small
// statement.

/** So many events at most go with one call, in a message for each tenant: all of them together are far below its limit. */
const MOST_AT_ONCE = 100
/** A busy service's events wait no longer than this, and its consumer gets them in batches. */
const BETWEEN_SENDS_MS = 10
/** Who finds a send under way looks again after so long. */
const LOOK_AGAIN_MS = 20
/** A send under way for so long may have died with the request that made it; the next does not wait for it. */
const GIVEN_UP_MS = 500
/** Who sends for the others hands over in good time: work after an answer is cut off after 30 s. */
const TURN_MS = 5_000

type Nudge = (env: Pick<Bindings, 'EVENTS_QUEUE'>, mine: EventNudge) => Promise<void>

/**
 * Resolves when the queue was nudged for these events, by this request or by another that took it along. No other request's
 * promise is awaited, since that may never end: each looks for itself whether its events still wait.
 */
export const nudge = nudger()

/** One that shares its sends with nobody else's. */
export function nudger(): Nudge {
  const waiting: EventNudge[] = []
  let sendingSince: number | null = null

  const sendWaiting = async (env: Parameters<Nudge>[0]) => {
    const until = Date.now() + TURN_MS
    try {
      while (waiting.length > 0 && Date.now() < until) {
        sendingSince = Date.now()
        const [first, ...others] = takeFrom(waiting)
        if (first && others.length === 0) await env.EVENTS_QUEUE.send(first)
        else if (first) await env.EVENTS_QUEUE.sendBatch([first, ...others].map((body) => ({ body })))
        await sleep(BETWEEN_SENDS_MS)
      }
    } finally {
      sendingSince = null
    }
  }

  return async (env, mine) => {
    waiting.push(mine)
    while (waiting.includes(mine)) {
      const busy = sendingSince !== null && Date.now() - sendingSince < GIVEN_UP_MS
      if (busy) await sleep(LOOK_AGAIN_MS)
      else await sendWaiting(env)
    }
  }
}

/** What goes next, a message for each tenant: Miniflare's broker, for one, can't take more than one a millisecond. */
function takeFrom(waiting: EventNudge[]): EventNudge[] {
  const taken: EventNudge[] = []
  for (let count = 0; waiting[0] && (count === 0 || count + waiting[0].event_ids.length <= MOST_AT_ONCE); ) {
    count += waiting[0].event_ids.length
    taken.push(...waiting.splice(0, 1))
  }
  const byTenant = Map.groupBy(taken, ({ tenant_id }) => tenant_id)
  return [...byTenant].map(([tenant_id, own]) => ({
    tenant_id,
    event_ids: own.flatMap(({ event_ids }) => event_ids),
    ...(own.every(({ types }) => types)
      ? { types: [...new Set(own.flatMap(({ types }) => types ?? []))] }
      : {}),
  }))
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
