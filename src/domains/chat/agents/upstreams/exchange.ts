import type { Settings } from '../../../../env'
import { echoesOf, withoutEchoes } from '../../../../lib/echo'
import { refusalOfUrl } from '../../../../lib/safe-url'
import { failureMessage } from './fields'
import type { Limits } from './limits'
import { Patience } from './patience'
import { ReplyReader } from './reply'
import { type UpstreamEvent, UpstreamFailure } from './upstream'

/** One request to an agent, as an adapter has written it. */
export type Call = {
  url: string
  headers: Record<string, string>
  body: string
  /** What must not come back in a message to the reader, although the agent may quote it. */
  secrets: readonly (string | null)[]
  /** Whether a 202 means that the answer comes by callback (false: it would, and can’t here); left out, it means nothing. */
  callback?: boolean
}

/** How much of an error's body is looked at for a sentence that says what is wrong. */
const ERROR_BYTES = 8 * 1024
const ERROR_MS = 2000
/** The most of an agent's own words that a reader is shown. */
const MAX_MESSAGE = 500

/**
 * Makes one call and yields what the answer says, as it comes. Throws UpstreamFailure (with what came before it
 * yielded), or the signal's reason once the run is stopped; whichever way it ends, the connection ends with it.
 */
export async function* exchange(
  call: Call,
  settings: Settings,
  limits: Limits,
  signal: AbortSignal,
): AsyncGenerator<UpstreamEvent> {
  const connection = new AbortController()
  const patience = new Patience(limits, signal)
  try {
    await refuseAddress(call.url, settings)
    const { url, headers, body } = call
    const init = { method: 'POST', headers, body, redirect: 'manual', signal: connection.signal } as const
    const response = await patience.until(fetch(url, init), unreachable)
    await refuseStatus(response)
    if (response.status === 202 && call.callback !== undefined) {
      if (!call.callback) throw notHere()
      yield { kind: 'callback' }
    }
    const type = response.headers.get('Content-Type')?.toLowerCase() ?? ''
    yield* readAnswer(response.body, type, limits, patience)
  } catch (error) {
    throw error instanceof UpstreamFailure ? withoutSecrets(error, call.secrets) : error
  } finally {
    connection.abort()
  }
}

/** Yields what the body of an answer says, to its end or where it says that nothing follows. */
export async function* readAnswer(
  body: ReadableStream<Uint8Array> | null,
  contentType: string,
  limits: Limits,
  patience: Patience,
): AsyncGenerator<UpstreamEvent> {
  const reader = body?.getReader()
  if (!reader) throw new UpstreamFailure('upstream_empty', 'The agent answered nothing', true)
  const reply = new ReplyReader(contentType)
  try {
    for (let size = 0; !reply.done; ) {
      const { done, value } = await patience.until(reader.read(), broken)
      if (done) {
        yield* reply.end()
        return
      }
      const room = limits.max_bytes - size
      yield* reply.push(value.byteLength > room ? value.subarray(0, room) : value)
      size += value.byteLength
      if (size > limits.max_bytes && !reply.done) throw tooLarge(limits)
    }
  } finally {
    void reader.cancel().catch(() => {})
  }
}

async function refuseAddress(url: string, settings: Settings): Promise<void> {
  const refusal = await refusalOfUrl(url, settings)
  if (refusal) throw new UpstreamFailure('upstream_refused_address', `The agent’s URL ${refusal}`, false)
}

async function refuseStatus(response: Response): Promise<void> {
  const { status } = response
  if (response.ok) return
  if (status >= 300 && status < 400)
    throw new UpstreamFailure(
      'upstream_redirect',
      `The agent answered ${status}, and redirects are not followed`,
      false,
    )
  const said = await errorText(response).catch(() => null)
  // RFC 9110: time-out and too early; RFC 6585: too many requests.
  const retryable = status >= 500 || status === 408 || status === 425 || status === 429
  throw new UpstreamFailure(
    'upstream_status',
    `The agent answered ${status}${said ? `: ${said}` : ''}`,
    retryable,
  )
}

/** What an error's JSON says is wrong; pages and long bodies say nothing to a reader of the chat. */
async function errorText(response: Response): Promise<string | null> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  const late = Date.now() + ERROR_MS
  let text = ''
  for (let size = 0; reader && size < ERROR_BYTES; ) {
    const { promise, resolve } = Promise.withResolvers<null>()
    const timer = setTimeout(resolve, late - Date.now(), null)
    const part = await Promise.race([reader.read(), promise]).finally(() => clearTimeout(timer))
    if (!part || part.done) break
    size += part.value.byteLength
    text += decoder.decode(part.value, { stream: true })
  }
  return failureMessage(JSON.parse(text))
}

/** The failure in one line of bounded length. */
function withoutSecrets(failure: UpstreamFailure, secrets: Call['secrets']): UpstreamFailure {
  const message = withoutEchoes(failure.message, echoesOf(secrets.filter((secret) => secret !== null)))
    .replace(/\s+/g, ' ')
    .slice(0, MAX_MESSAGE)
  return new UpstreamFailure(failure.code, message, failure.retryable, { cause: failure.cause })
}

const unreachable = (cause: unknown) =>
  new UpstreamFailure('upstream_unreachable', 'The agent could not be reached', true, { cause })

const broken = (cause: unknown) =>
  new UpstreamFailure(
    'upstream_reset',
    'The connection to the agent broke off in the middle of its answer',
    true,
    { cause },
  )

const notHere = () =>
  new UpstreamFailure(
    'upstream_error',
    'The agent answered 202, so it goes on by callback, which only a chat can take',
    false,
  )

const tooLarge = ({ max_bytes }: Limits) =>
  new UpstreamFailure(
    'upstream_too_large',
    `The agent’s answer is over ${max_bytes / 1024 / 1024} MiB`,
    false,
  )
