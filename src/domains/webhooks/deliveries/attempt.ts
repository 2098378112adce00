import type { Settings } from '../../../env'
import { hex, utf8 } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { refusalOfUrl } from '../../../lib/safe-url'
import type { Attempt } from './schema'
import { signature } from './signature'
import type { Outcome } from './verdict'

/** What one attempt needs to know; secrets and headers are open, `masked` is how the log shows the headers. */
export type Request = {
  url: string
  headers: Record<string, string>
  masked: Record<string, string>
  secrets: readonly string[]
  timeout_ms: number
  event_id: string
  body: string
  number: number
  trace_id: string | null
}

export type Made = { attempt: Attempt; outcome: Outcome }

/** How much of an answer is read; what follows is abandoned. */
const MOST_READ = 64 * 1024
/** How much of an answer's body, and of its headers, the log keeps. */
const MOST_KEPT = 16 * 1024

/** Makes one signed attempt, and never throws: whatever happens is in the answer. */
export async function makeAttempt(request: Request, settings: Settings): Promise<Made> {
  const started = Date.now()
  const timestamp = Math.floor(started / 1000)
  const fixed = {
    'content-type': 'application/json',
    'user-agent': 'Causeway-Webhooks/1',
    'webhook-id': request.event_id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': await signature(request.secrets, request.event_id, timestamp, request.body),
    'webhook-attempt': String(request.number),
    traceparent: traceparent(request.trace_id),
  }
  const refusal = await refusalOfUrl(request.url, settings)
  const answer: Answer = refusal
    ? { ...NOTHING, error: `address: the URL ${refusal}` }
    : await post(request, { ...request.headers, ...fixed })
  const { error, headers } = answer
  const attempt: Attempt = {
    number: request.number,
    attempted_at: iso(started),
    duration_ms: Date.now() - started,
    response_status: answer.status,
    response_body: answer.body,
    response_headers: headers && keepable(headers),
    request_headers: { ...request.masked, ...fixed },
    error,
  }
  const outcome = {
    response_status: answer.status,
    error,
    retry_after: headers?.get('retry-after') ?? null,
    directive: headers?.get('webhook-delivery')?.trim().toLowerCase() ?? null,
  }
  return { attempt, outcome }
}

type Answer = { status: number | null; headers: Headers | null; body: string | null; error: string | null }

const NOTHING: Answer = { status: null, headers: null, body: null, error: null }

/** One POST within its time, the body of the answer included. */
async function post(request: Request, headers: Record<string, string>): Promise<Answer> {
  const answer = { ...NOTHING }
  const abort = new AbortController()
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(new Late())
    abort.abort()
  }, request.timeout_ms)
  try {
    const init = { method: 'POST', headers, body: utf8(request.body), signal: abort.signal }
    const response = await Promise.race([fetch(request.url, { ...init, redirect: 'manual' }), late])
    answer.status = response.status
    answer.headers = response.headers
    answer.body = ''
    await Promise.race([read(response, (text) => Object.assign(answer, { body: text })), late])
    return { ...answer, error: errorOf(response.status) }
  } catch (error) {
    const within = `no complete answer within ${request.timeout_ms} ms`
    return { ...answer, error: error instanceof Late ? `timeout: ${within}` : `network: ${messageOf(error)}` }
  } finally {
    clearTimeout(timer)
    abort.abort()
  }
}

class Late extends Error {}

/** Reads up to MOST_READ bytes, and tells after each piece what the log keeps of them. */
async function read(response: Response, keep: (text: string) => void): Promise<void> {
  if (!response.body) return
  const reader = response.body.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let size = 0, kept = 0; size < MOST_READ; ) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.byteLength
    // A character that the limit cuts in two stays out: the decoder waits for its rest.
    if (kept < MOST_KEPT) text += decoder.decode(value.subarray(0, MOST_KEPT - kept), { stream: true })
    kept += value.byteLength
    keep(text)
  }
}

function errorOf(status: number): string | null {
  if (status >= 200 && status < 300) return null
  if (status >= 300 && status < 400) return `redirect: answered ${status}, which is not followed`
  if (status === 410) return 'gone: answered 410'
  // Cloudflare answers these itself where the receiver did not.
  if ((status >= 520 && status <= 527) || status === 530)
    return `network: the receiver’s edge answered ${status}`
  return `status: answered ${status}`
}

/** The runtime's words, which name no secret, in one line. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.replace(/\s+/g, ' ').slice(0, 300) || 'the connection failed'
}

function keepable(headers: Headers): Record<string, string> {
  const kept: Record<string, string> = {}
  let size = 0
  for (const [name, value] of headers) {
    size += name.length + value.length
    if (size > MOST_KEPT) break
    kept[name] = value
  }
  return kept
}

/** A span of its own under the trace of what caused the event (W3C Trace Context). */
function traceparent(traceId: string | null): string {
  const random = hex(crypto.getRandomValues(new Uint8Array(24)))
  return `00-${traceId ?? random.slice(16)}-${random.slice(0, 16)}-01`
}
