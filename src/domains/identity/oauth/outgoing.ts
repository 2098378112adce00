import { problem } from '../../../lib/problem'

/** A person waits at a blank page meanwhile. */
const PATIENCE_MS = 10_000
/** Key sets of large providers have some 10 kB. */
const MAX_BYTES = 256 * 1024

export type Answer = { status: number; body: unknown }

/**
 * Asks a provider for JSON. Redirects are not followed: a secret goes to the address that was configured or discovered,
 * and nowhere else. 502 `upstream_failed` or 504 `upstream_timeout` where there is no such answer.
 */
export async function askProvider(url: string, init: RequestInit = {}): Promise<Answer> {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  try {
    const response = await fetch(url, { ...init, redirect: 'manual', signal })
    const text = await readText(response)
    if (response.status >= 300 && response.status < 400) throw new Error(`redirected (${response.status})`)
    return { status: response.status, body: JSON.parse(text) }
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

async function readText(response: Response): Promise<string> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let size = 0; reader; ) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.byteLength
    if (size > MAX_BYTES) {
      await reader.cancel()
      throw new Error(`more than ${MAX_BYTES} bytes`)
    }
    text += decoder.decode(value, { stream: true })
  }
  return text + decoder.decode()
}
