import { namesIn, refusalOfTemplate } from '../secrets/template'
import { OF_THE_CONNECTION, TOKEN, VALUE } from '../webhooks/endpoints/headers'

// Headers of requests that a tenant has made: those of tools, and of workflows' steps.

/** What every such request carries. */
const OURS = /^(?:idempotency-key|traceparent|tracestate)$/
/** Names under which credentials travel; everybody who reads a tool or a workflow sees what it says. */
const SECRET = /auth|cookie|token|secret|key|password|signature|credential/i
/** What arguments are written as. */
const BODY = /^application\/(?:[\w.-]+\+)?(?:json|x-www-form-urlencoded)\s*(?:;|$)/i
const MAX_VALUE = 4096

/** Why a request may not send a header, as the error of its field; null where it may. Its value may be a template yet. */
export function refusalOfHeader(name: string, value: string): string | null {
  if (!TOKEN.test(name)) return 'must be named by 1 to 128 characters of an HTTP header name'
  const lower = name.toLowerCase()
  if (OURS.test(lower)) return 'is set by the service; choose another name'
  if (OF_THE_CONNECTION.test(lower)) return 'belongs to the connection and can’t be set'
  if (SECRET.test(name) && !value.includes('{{'))
    return 'must not stand here in clear: set it with PUT /api/v1/secrets/{name} and use {{secrets.name}}'
  return refusalOfValue(value)
}

/** The same for a tool, whose values are texts or use secrets, and nothing else. */
export function refusalOfToolHeader(name: string, value: string): string | null {
  const refusal = refusalOfHeader(name, value) ?? refusalOfTemplate(value)
  if (refusal !== null) return refusal
  if (name.toLowerCase() === 'content-type' && !BODY.test(value))
    return 'must be that of JSON, or application/x-www-form-urlencoded'
  return value.includes('{{') && namesIn(value).length === 0
    ? 'must use a secret as {{secrets.name}}; arguments stand in the URL, the query or the body'
    : null
}

/** Why a text can't be a header's value; null where it can. */
export function refusalOfValue(value: string): string | null {
  if (value.length > MAX_VALUE) return `must have at most ${MAX_VALUE} characters`
  return VALUE.test(value) ? null : 'must be visible ASCII without spaces at its ends'
}
