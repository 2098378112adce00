import type { Context } from '../../../data/context'
import { namesIn, refusalOfTemplate } from '../../secrets/template'
import { openFor, sealFor } from './secret'
import type { StoredHeaders } from './table'

// Headers that a tenant adds to its deliveries. Values that may be credentials are sealed, and shown as ********; those
// that use a secret by its name (header-secrets.ts) are shown as they were written.

export const MASK = '********'

/** What every delivery carries; a tenant's header must not stand beside it. */
const OURS =
  /^(?:webhook-.*|svix-.*|stripe-signature|content-type|content-encoding|user-agent|traceparent|tracestate)$/
/** RFC 9110, 7.6.1, and what the connection or the edge settles. */
export const OF_THE_CONNECTION =
  /^(?:host|content-length|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|accept-encoding|via|forwarded|x-forwarded-.*|x-real-ip|cf-.*|cdn-loop)$/
/** Names under which credentials travel. */
const SECRET = /auth|cookie|token|secret|key|password|signature|credential/i

/** RFC 9110, 5.6.2: the characters of a field name. */
export const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/
/** RFC 9110, 5.5, without obsolete text: visible characters with single spaces and tabs between. */
export const VALUE = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/
const MAX_VALUE = 4096

/** Why a header may not be added, as the error of its field; null where it may. */
export function refusalOfHeader(name: string, value: string): string | null {
  if (!TOKEN.test(name)) return 'must be named by 1 to 128 characters of an HTTP header name'
  const lower = name.toLowerCase()
  if (OURS.test(lower)) return 'is set by the service; choose another name'
  if (OF_THE_CONNECTION.test(lower)) return 'belongs to the connection and can’t be set'
  if (value.length > MAX_VALUE) return `must have at most ${MAX_VALUE} characters`
  if (!VALUE.test(value)) return 'must be visible ASCII without spaces at its ends'
  return refusalOfTemplate(value)
}

/** Seals what may be a credential, but not what only names one; a masked value stays what it was in `before`. */
export async function storeHeaders(
  ctx: Context,
  endpointId: string,
  headers: Record<string, string>,
  before: StoredHeaders = {},
): Promise<StoredHeaders> {
  const known = new Map(Object.entries(before).map(([name, value]) => [name.toLowerCase(), value]))
  const stored: StoredHeaders = {}
  for (const [name, value] of Object.entries(headers)) {
    const kept = value === MASK ? known.get(name.toLowerCase()) : undefined
    const isCredential = SECRET.test(name) && namesIn(value).length === 0
    stored[name] = kept ?? (isCredential ? { sealed: await sealFor(ctx, endpointId, value) } : value)
  }
  return stored
}

/** The sealed headers of `stored` that are those of `before`: whoever sends them elsewhere need not know them. */
export function sealedAsBefore(stored: StoredHeaders, before: StoredHeaders): string[] {
  const known = new Set(Object.values(before))
  return Object.keys(stored).filter((name) => typeof stored[name] === 'object' && known.has(stored[name]))
}

/** As they are shown, and as an attempt's log keeps them. */
export function maskHeaders(stored: StoredHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(stored).map(([name, value]) => [name, typeof value === 'string' ? value : MASK]),
  )
}

/** As they are sent. */
export async function openHeaders(
  ctx: Context,
  endpointId: string,
  stored: StoredHeaders,
): Promise<Record<string, string>> {
  const opened: Record<string, string> = {}
  for (const [name, value] of Object.entries(stored))
    opened[name] = typeof value === 'string' ? value : await openFor(ctx, endpointId, value.sealed)
  return opened
}
