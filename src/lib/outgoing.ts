import type { Settings } from '../env'
import { valueWithoutEchoes, withoutEchoes } from './echo'
import { sizeOf } from './json-size'
import { refusalOfUrl } from './safe-url'

// One request to a URL that a tenant gave, for which an answer is wanted: by a tool, or a workflow's step.

/** The largest answer that is kept, in bytes. */
const MOST_READ = 64 * 1024
/** Of what an answer says is wrong, so much is told. */
const MOST_TOLD = 300

export type Outgoing = {
  method: string
  url: string
  headers: Headers
  body: string | null
  timeout_ms: number
  /** What must not come back in what is told of the answer: forms of the secrets that were sent. */
  echoes: readonly string[]
  /** Breaks it off. */
  signal?: AbortSignal
}

export type Incoming = { status: number; headers: Headers; text: string }

/** There is no answer that can be used, as the request's tenant is told: a sentence about it, without any secret. */
export class Unanswered extends Error {
  constructor(
    message: string,
    /** Whether a moment may mend it. */
    readonly retryable = false,
    /** The answer, where there was one; its text is not masked. */
    readonly answer: Incoming | null = null,
  ) {
    super(message)
  }
}

/**
 * Makes a request under the rules for outgoing addresses, and reads its whole answer within its time. Redirects are not
 * followed. Throws Unanswered, also for any status but 2xx; the signal's reason once it is broken off.
 */
export async function answerTo(request: Outgoing, settings: Settings): Promise<Incoming> {
  const { method, url, headers, body, echoes, signal } = request
  const abort = new AbortController()
  const { promise: given, reject } = Promise.withResolvers<never>()
  // Nobody may be waiting for it yet.
  given.catch(() => {})
  const late = () => reject(tooLate(request.timeout_ms))
  const timer = setTimeout(late, request.timeout_ms)
  const stop = () => reject(signal?.reason)
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()
  const within = <T>(work: Promise<T>) => Promise.race([given, work])
  try {
    const refusal = await within(refusalOfUrl(url, settings))
    if (refusal !== null) throw new Unanswered(`its URL ${refusal}`)
    const init = { method, headers, body, redirect: 'manual', signal: abort.signal } as const
    const response = await within(fetch(url, init).catch(unreachable))
    const text = await within(textOf(response).catch(unreachable))
    const answer = { status: response.status, headers: response.headers, text }
    if (!response.ok) throw refused(answer, echoes)
    return answer
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
    abort.abort()
  }
}

const tooLate = (ms: number) =>
  new Unanswered(`there was no complete answer within ${ms / 1000} seconds`, true)

const unreachable = (error: unknown): never => {
  if (error instanceof Unanswered) throw error
  const words = error instanceof Error ? error.message.replace(/\s+/g, ' ').slice(0, MOST_TOLD) : ''
  throw new Unanswered(`the connection failed (${words || 'DNS, TLS or HTTP'})`, true)
}

async function textOf(response: Response): Promise<string> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let size = 0; reader; ) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.byteLength
    // What says no may be of any length.
    if (size > MOST_READ && !response.ok) break
    if (size > MOST_READ) throw new Unanswered(`its answer is over ${MOST_READ / 1024} KiB`)
    text += decoder.decode(value, { stream: true })
  }
  return text + decoder.decode()
}

function refused(answer: Incoming, echoes: readonly string[]): Unanswered {
  const { status, text } = answer
  const said = withoutEchoes(text, echoes).replace(/\s+/g, ' ').trim().slice(0, MOST_TOLD)
  const redirect = status >= 300 && status < 400 ? ', and redirects are not followed' : ''
  const message = `it was answered ${status}${redirect}${said === '' ? '' : `: ${said}`}`
  // RFC 9110: time-out and too early; RFC 6585: too many requests.
  return new Unanswered(message, status >= 500 || [408, 425, 429].includes(status), answer)
}

/**
 * JSON as its value, where it says that it is some; anything else as it is written. What echoes a secret is taken out of
 * the value: JSON has many ways to write one.
 */
export function answeredValue({ headers, text }: Incoming, echoes: readonly string[]): unknown {
  const plain = withoutEchoes(text, echoes)
  if (!/[/+]json\b/i.test(headers.get('Content-Type') ?? '')) return plain
  try {
    const value: unknown = JSON.parse(text)
    // One that is nested too deep can't be told of.
    return Number.isFinite(sizeOf(value)) ? valueWithoutEchoes(value, echoes) : plain
  } catch {
    return plain
  }
}
