import type { Settings } from '../../../env'
import { ECHO_MASK, echoesOf, SHORTEST_ECHO, withoutEchoes } from '../../../lib/echo'
import { hex, utf8 } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { refusalOfUrl } from '../../../lib/safe-url'
import type { EndpointRow } from '../endpoints/table'
import { type Answer, errorOf, keptHeaders, NOTHING, readBody, retryAfterOf } from './answer'
import type { Attempt } from './schema'
import { type Keys, signatureHeaders } from './signature'
import type { Outcome } from './verdict'

/** What one attempt needs to know; secrets and headers are open, `masked` is how the log shows the headers. */
export type Request = Keys & {
  url: string
  headers: Record<string, string>
  masked: Record<string, string>
  /** The tenant's secrets within the headers. */
  values: readonly string[]
  /** Why nothing can be sent, as the error. */
  refusal: string | null
  profile: EndpointRow['signature_profile']
  timeout_ms: number
  event_id: string
  body: string
  number: number
  /** The time now, as it counts by the endpoint’s own rate. */
  begins: number
  trace_id: string | null
}

export type Made = { attempt: Attempt; outcome: Outcome }

/** Makes one signed attempt, and never throws: whatever happens is in the answer. */
export async function makeAttempt(request: Request, settings: Settings): Promise<Made> {
  const started = request.begins
  const signed = { id: request.event_id, timestamp: Math.floor(started / 1000), body: request.body }
  const fixed = {
    'content-type': 'application/json',
    'user-agent': 'Causeway-Webhooks/1',
    ...(await signatureHeaders(request.profile, request, signed)),
    'webhook-attempt': String(request.number),
    traceparent: traceparent(request.trace_id),
  }
  const answer = await withinTime(request, { ...request.headers, ...fixed }, settings)
  const { error, headers } = answer
  const open = maskerOf(request)
  const attempt: Attempt = {
    number: request.number,
    attempted_at: iso(started),
    duration_ms: Date.now() - started,
    response_status: answer.status,
    response_body: answer.body && open(answer.body),
    response_headers: headers && masked(keptHeaders(headers), open),
    request_headers: { ...request.masked, ...fixed },
    error,
  }
  const outcome = {
    response_status: answer.status,
    error,
    retry_after: headers && retryAfterOf(headers),
    directive: headers?.get('webhook-delivery')?.trim().toLowerCase() ?? null,
  }
  return { attempt, outcome }
}

/** One POST within its time: the look at the address, and the body of the answer, included. */
async function withinTime(
  request: Request,
  headers: Record<string, string>,
  settings: Settings,
): Promise<Answer> {
  const answer = { ...NOTHING }
  if (request.refusal !== null) return { ...answer, error: request.refusal }
  const abort = new AbortController()
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    reject(new Late())
    abort.abort()
  }, request.timeout_ms)
  try {
    const refusal = await Promise.race([refusalOfUrl(request.url, settings), late])
    if (refusal) return { ...answer, error: `address: the URL ${refusal}` }
    const init = { method: 'POST', headers, body: utf8(request.body), signal: abort.signal }
    const response = await Promise.race([fetch(request.url, { ...init, redirect: 'manual' }), late])
    answer.status = response.status
    answer.headers = response.headers
    answer.body = ''
    await Promise.race([readBody(response, (text) => Object.assign(answer, { body: text })), late])
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

/** The runtime's words, which name no secret, in one line. It has none of its own for a name or a certificate. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const words = message.replace(/\s+/g, ' ').slice(0, 300) || 'the connection failed'
  return words.startsWith('internal error') ? `no connection: DNS, TLS or HTTP failed (${words})` : words
}

/** Receivers echo what they were sent: where an answer holds the value of a header that the log masks, so does this. */
function maskerOf({ headers, masked, values }: Request): (text: string) => string {
  const hidden = Object.entries(headers)
    .filter(([name, value]) => masked[name] !== value)
    // The value, and the credential after its scheme.
    .flatMap(([, value]) => [value, ...value.split(/\s+/).filter((part) => part.length >= SHORTEST_ECHO)])
  const echoes = echoesOf([...hidden, ...values])
  return (text) => echoes.reduce(maskedEnd, withoutEchoes(text, echoes))
}

/** What is kept of an answer may end within the value. */
function maskedEnd(text: string, value: string): string {
  for (let length = Math.min(value.length - 1, text.length); length >= SHORTEST_ECHO; length--)
    if (text.endsWith(value.slice(0, length))) return text.slice(0, -length) + ECHO_MASK
  return text
}

const masked = (headers: Record<string, string>, open: (text: string) => string) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, open(value)]))

/** A span of its own under the trace of what caused the event (W3C Trace Context). */
function traceparent(traceId: string | null): string {
  const random = hex(crypto.getRandomValues(new Uint8Array(24)))
  return `00-${traceId ?? random.slice(16)}-${random.slice(0, 16)}-01`
}
