import type { Settings } from '../env'
import { echoesOf, withoutEchoes } from './echo'
import { describeError, log } from './log'
import { Problem, problem } from './problem'
import { refusalOfTarget, refusalOfUrl } from './safe-url'

// How every outside service with an account is asked: in time, again where it is busy or failed, and so that neither its
// key nor more than a line of its words comes back.

/** An account with an outside service. */
export type Provider = {
  /** As its own users call it: `ultravox`, `elevenlabs`. */
  name: string
  api_key: string
  /** Without a slash at its end. */
  base_url: string
  options: Readonly<Record<string, string>>
  /** The tenant's, whose base_url falls under the rules for outgoing addresses; else the operator's. */
  own: boolean
}

export type ProviderRequest = {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** What comes after base_url. */
  path: string
  headers?: Record<string, string>
  /** A body of JSON. */
  json?: unknown
  /** Any other body that can be sent twice. */
  body?: FormData | URLSearchParams | string
  /** Doing it twice would do harm, and the provider can't know it again: it is repeated after 429 alone. */
  once?: true
  /** Statuses that are an answer besides 2xx, such as 404. */
  meant?: readonly number[]
  /** Statuses after which it may be asked again, besides 408, 425, 429 and 5xx. */
  passing?: readonly number[]
  /** What is answered: JSON unless said otherwise. */
  as?: 'json' | 'bytes'
  /** The most bytes of an answer. */
  most?: number
  /** How long one try may take. */
  timeout_ms?: number
  /** Tries end, and none begins that must wait beyond it; 25 s from now unless said otherwise. */
  until?: number
}

export type ProviderAnswer = {
  status: number
  headers: Headers
  body: unknown
  bytes: Uint8Array<ArrayBuffer>
}

type Caller = { settings: Settings; traceparent: string }

const TIMEOUT_MS = 10_000
const PATIENCE_MS = 25_000
const TRIES = 3
const FIRST_WAIT_MS = 500
const MOST_BYTES = 1024 * 1024
/** The most of a provider's own words that a caller is told. */
const MOST_SAID = 200

/**
 * Asks a provider. One that answers 429 or 5xx, can't be reached or takes over 10 s is asked again while there is time, not
 * before its `Retry-After`. Throws `provider_failed` where it may succeed later, `provider_refused` where it will not; both
 * have `details {provider, status, said}`, without the key.
 */
export async function askProvider(
  ctx: Caller,
  provider: Provider,
  request: ProviderRequest,
): Promise<ProviderAnswer> {
  const until = request.until ?? Date.now() + PATIENCE_MS
  const url = `${provider.base_url}${request.path}`
  for (let tries = 1; ; tries++) {
    await admitTarget(ctx, provider, url)
    try {
      return await attempt(ctx, provider, request, url, until)
    } catch (error) {
      if (!(error instanceof Again)) throw error
      const wait = Math.max(error.waitMs, FIRST_WAIT_MS * 2 ** (tries - 1))
      if (tries === TRIES || (request.once && error.status !== 429) || Date.now() + wait >= until)
        throw error.asProblem()
      await scheduler.wait(wait)
    }
  }
}

async function admitTarget(ctx: Caller, provider: Provider, url: string): Promise<void> {
  if (!provider.own) return
  const never = refusalOfTarget(url, ctx.settings)
  const refusal = never ?? (await refusalOfUrl(url, ctx.settings))
  if (refusal === null) return
  const code = never === null ? 'provider_failed' : 'provider_refused'
  throw problem(code, `The base_url of the provider ${provider.name} ${refusal}`, {
    details: { provider: provider.name, status: null, said: null },
  })
}

/** Another try may succeed, not earlier than it says. */
class Again extends Error {
  constructor(
    readonly provider: string,
    /** Null where there was no answer. */
    readonly status: number | null,
    words: string,
    readonly waitMs: number,
    readonly said: string | null,
    cause?: unknown,
  ) {
    super(`The provider ${provider} ${words}`, { cause })
  }

  asProblem(): Problem {
    const { provider, status, said, message, waitMs, cause } = this
    return problem('provider_failed', message, {
      details: { provider, status, said },
      ...(waitMs > 0 ? { headers: { 'Retry-After': `${Math.ceil(waitMs / 1000)}` } } : {}),
      cause,
    })
  }
}

async function attempt(
  ctx: Caller,
  provider: Provider,
  request: ProviderRequest,
  url: string,
  until: number,
): Promise<ProviderAnswer> {
  const left = Math.max(1, Math.min(request.timeout_ms ?? TIMEOUT_MS, until - Date.now()))
  const signal = AbortSignal.timeout(left)
  try {
    const response = await fetch(url, { ...initOf(ctx, request), signal })
    const bytes = await bytesOf(response, request.most ?? MOST_BYTES)
    const { status, headers } = response
    if (!response.ok && !request.meant?.includes(status))
      throw refusalOf(provider, response, bytes, request.passing)
    return { status, headers, bytes, body: request.as === 'bytes' ? null : jsonOf(provider, status, bytes) }
  } catch (error) {
    if (error instanceof Problem || error instanceof Again) throw error
    if (error instanceof TooMuch) throw tooMuch(provider, error)
    const words = signal.aborted ? 'took too long' : 'can’t be reached'
    log.warn('provider_unreached', { provider: provider.name, cause: describeError(error) })
    throw new Again(provider.name, null, words, 0, null, error)
  }
}

function initOf(
  { traceparent }: Caller,
  { method = 'GET', headers, json, body }: ProviderRequest,
): RequestInit {
  return {
    method,
    headers: {
      Accept: 'application/json',
      traceparent,
      ...(json === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    ...(body === undefined ? {} : { body }),
    // What is asked, and with what key, goes to the address that was meant and nowhere else.
    redirect: 'manual',
  }
}

class TooMuch extends Error {}

const tooMuch = ({ name }: Provider, { message }: TooMuch) =>
  problem('provider_failed', `The provider ${name} ${message}`, {
    details: { provider: name, status: null, said: null },
  })

/** The body of an answer, as long as it has no more than so many bytes. */
export async function bytesOf(response: Response, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > most) throw new TooMuch(`answered more than ${most} bytes`)
    chunks.push(chunk)
  }
  const bytes = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.byteLength
  }
  return bytes
}

/** Null for what is no JSON. */
function parsed(bytes: Uint8Array): { value: unknown } | null {
  try {
    return { value: JSON.parse(new TextDecoder().decode(bytes)) }
  } catch {
    return null
  }
}

function jsonOf({ name }: Provider, status: number, bytes: Uint8Array): unknown {
  if (bytes.byteLength === 0) return null
  const json = parsed(bytes)
  if (json) return json.value
  throw problem('provider_failed', `The provider ${name} answered ${status} with what is no JSON`, {
    details: { provider: name, status, said: null },
  })
}

function refusalOf(
  provider: Provider,
  { status, headers }: Response,
  bytes: Uint8Array,
  passing: readonly number[] = [],
): Problem | Again {
  const said = saidIn(parsed(bytes)?.value)
  const masked = said && withoutEchoes(said, echoesOf([provider.api_key])).slice(0, MOST_SAID)
  const { name } = provider
  log.warn('provider_refused', { provider: name, status, said: masked })
  const words = `answered ${status}${masked ? `: ${masked}` : ''}`
  if ([408, 425, 429, ...passing].includes(status) || status >= 500)
    return new Again(name, status, words, retryAfterMs(headers.get('Retry-After')), masked)
  return problem('provider_refused', `The provider ${name} ${words}`, {
    details: { provider: name, status, said: masked },
  })
}

/** What an error's body says in words, wherever this or that provider puts them. */
function saidIn(value: unknown, depth = 0): string | null {
  if (typeof value === 'string') return value.replace(/\s+/g, ' ').trim() || null
  if (typeof value !== 'object' || value === null || depth > 3) return null
  if (Array.isArray(value)) return saidIn(value[0], depth + 1)
  const members = value as Record<string, unknown>
  for (const name of ['message', 'detail', 'error', 'errors', 'title', 'msg']) {
    const said = saidIn(members[name], depth + 1)
    if (said !== null) return said
  }
  return null
}

/** `Retry-After` in milliseconds: seconds, or a date; 0 without one. */
export function retryAfterMs(header: string | null): number {
  if (header === null) return 0
  const text = header.trim()
  const ms = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : 0
}
