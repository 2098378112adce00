import { latestQuestion, type Upstream } from './upstream'

/** A little slower than frames go out, so that a person who tries the product sees words come one by one. */
const PACE_MS = 60
/** A long text is said faster: nobody waits longer for an echo. */
const MOST_MS = 2_000

/** The embedded default: answers with the message itself, word by word, without any network. */
export const echo: Upstream = async function* (_agent, request) {
  const words = latestQuestion(request).match(/\s*\S+\s*$|\s*\S+|\s+/g) ?? []
  const pace = Math.min(PACE_MS, MOST_MS / Math.max(1, words.length))
  const started = Date.now()
  for (const [i, text] of words.entries()) {
    // By the clock: a wait takes a few milliseconds at the least.
    const early = started + i * pace - Date.now()
    if (early >= 1) await scheduler.wait(early)
    request.signal.throwIfAborted()
    yield { kind: 'delta', text }
  }
  yield { kind: 'finish', reason: 'stop' }
}
