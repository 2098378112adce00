import { askJson, type JsonAnswer } from '../../../lib/ask-json'
import { problem } from '../../../lib/problem'

/** A person waits at a blank page meanwhile. */
const PATIENCE_MS = 10_000

/** Asks a provider for JSON. 502 `upstream_failed` or 504 `upstream_timeout` where there is no such answer. */
export async function askProvider(url: string, init: RequestInit = {}): Promise<JsonAnswer> {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  try {
    // What it refuses it says in JSON too.
    return await askJson(url, { ...init, signal }, (status) => status < 300 || status >= 400)
  } catch (cause) {
    if (signal.aborted) throw problem('upstream_timeout', 'The provider did not answer in time', { cause })
    throw failed(cause)
  }
}

/** The refusal where a provider answers what it should not; `cause` goes to the log alone. */
export const failed = (cause: unknown) =>
  problem('upstream_failed', 'The provider could not be asked', {
    cause: cause instanceof Error ? cause : new Error(String(cause)),
  })
