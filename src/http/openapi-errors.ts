import * as z from 'zod'
import { iso } from '../lib/ids'
import { PROBLEMS, type ProblemCode } from '../lib/problem'
import { isCounted } from './counted'
import type { Note } from './notes'
import { LIMIT_HEADERS } from './openapi-parts'
import type { JsonSchema } from './openapi-schemas'

const CODES = Object.keys(PROBLEMS) as ProblemCode[]
const CATEGORIES = [...new Set(Object.values(PROBLEMS).map((kind) => kind.category))]

/** The one shape of every error (http.md), as `problemResponse` prints it. */
export const ErrorAnswer = z
  .object({
    error: z.object({
      code: z.enum(CODES as [ProblemCode, ...ProblemCode[]]).meta({ description: 'Stable; branch on this.' }),
      message: z.string().meta({ description: 'For people; may change.' }),
      status: z.int(),
      category: z.enum(CATEGORIES as [string, ...string[]]),
      severity: z.literal('error'),
      retryable: z.boolean().meta({ description: 'Whether the same request may succeed later.' }),
      recovery_hint: z.string(),
      details: z
        .record(z.string(), z.unknown())
        .meta({ description: 'What the code is about; `fields` names every wrong field by its path.' }),
      request_id: z.string().nullable(),
      correlation_id: z.string().nullable(),
      ts: z.iso.datetime(),
    }),
  })
  .meta({ id: 'Error' })

const PHRASES: Record<number, string> = {
  400: 'Not the JSON it claims to be, or a malformed header',
  401: 'No credential, or a bad one',
  403: 'A good credential without the scope, role or tenant',
  404: 'No such resource in this tenant',
  409: 'It exists already, or its state forbids this',
  411: 'The upload has no length',
  412: 'If-Match names another version',
  413: 'The body is over its limit',
  415: 'Wrong content type',
  416: 'The file has no such bytes',
  422: 'A field is wrong; every wrong one is named in details',
  429: 'Over a limit; wait Retry-After seconds',
  500: 'A bug on our side',
  502: 'An outside service failed',
  503: 'Not now; try again',
  504: 'An outside service ran out of time',
}

/** The error codes that an operation can answer, from what its middleware say of it and from `note.errors`. */
export function codesOf(method: string, path: string, note: Note): ProblemCode[] {
  const codes = new Set<ProblemCode>(['host_refused', 'internal_error'])
  const add = (...more: ProblemCode[]) => {
    for (const code of more) codes.add(code)
  }
  const writes = method !== 'get'
  if (isCounted(path)) add('rate_limited')
  if (!note.open) {
    add('malformed_header', 'credential_required', 'invalid_token', 'token_expired', 'token_revoked')
    add('invalid_api_key', 'ambiguous_credentials', 'tenant_mismatch', 'tenant_suspended', 'tenant_cancelled')
    add(note.platform ? 'platform_only' : 'target_tenant_required')
    if (path.startsWith('/api/tenant/')) add('tenant_header_required')
    if (note.scopes?.length) add('insufficient_scope')
    if (note.secret) add('forbidden_while_acting')
    if (path.includes('{')) add('not_found')
    if (writes) add('origin_refused')
  }
  if (note.body) add('malformed_json', 'body_too_large', 'unsupported_media_type')
  if (note.body || note.query || note.params) add('validation_failed')
  if (writes && note.idempotency !== 'ignored') add('idempotency_in_progress', 'idempotency_key_reused')
  if (takesVersion(method, path)) add('precondition_failed')
  add(...(note.errors ?? []))
  return [...codes].sort((a, b) => CODES.indexOf(a) - CODES.indexOf(b))
}

/** Paths of one resource: by its id, or the only one that the caller has. */
export const OF_ONE = /\{\w+\}$|\/(?:me|current|service)$/

/** Whether If-Match means something: a change of one resource. */
export const takesVersion = (method: string, path: string): boolean =>
  ['patch', 'put', 'delete'].includes(method) && (path.includes('{') || OF_ONE.test(path))

/** The error answers of one operation by status; each code is a named example. */
export function errorAnswers(
  codes: readonly ProblemCode[],
  ours: JsonSchema,
  theirs?: (status: number) => JsonSchema,
): Record<string, unknown> {
  const answers: Record<string, unknown> = {}
  for (const status of [...new Set(codes.map((code) => PROBLEMS[code].status))].sort()) {
    const own = codes.filter((code) => PROBLEMS[code].status === status)
    const examples = Object.fromEntries(own.map((code) => [code, { $ref: `#/components/examples/${code}` }]))
    const media = theirs ? { schema: theirs(status) } : { schema: ours, examples }
    answers[status] = {
      description: `${PHRASES[status] ?? 'An error'}: ${own.map((code) => `\`${code}\``).join(', ')}.`,
      headers: headersOf(status),
      content: { 'application/json': media },
    }
  }
  return answers
}

const header = (name: string) => ({ $ref: `#/components/headers/${name}` })

function headersOf(status: number): Record<string, unknown> {
  const headers: Record<string, unknown> = { 'X-Request-ID': header('X-Request-ID') }
  if (status === 401) headers['WWW-Authenticate'] = header('WWW-Authenticate')
  if (status === 409 || status === 429 || status === 503) headers['Retry-After'] = header('Retry-After')
  if (status === 429) for (const name of LIMIT_HEADERS) headers[name] = header(name)
  return headers
}

/** An example of the error that carries `code`. */
export function errorExample(code: ProblemCode): { summary: string; value: unknown } {
  const kind: { status: number; category: string; hint: string; retryable?: true } = PROBLEMS[code]
  const error = {
    code,
    message: PHRASES[kind.status] ?? 'An error',
    status: kind.status,
    category: kind.category,
    severity: 'error',
    retryable: kind.retryable ?? false,
    recovery_hint: kind.hint,
    details: code === 'validation_failed' ? { fields: { email: 'must be an email address' } } : {},
    request_id: 'req_0f3c1a2b4d5e6f708192a3b4',
    correlation_id: 'req_0f3c1a2b4d5e6f708192a3b4',
    ts: iso(Date.UTC(2026, 0, 31, 10)),
  }
  return { summary: kind.hint, value: { error } }
}
