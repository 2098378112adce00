import type { IncomingMessage, ServerResponse } from 'node:http'

// Resend's API as its documentation tells it: POST /mail/emails. How it behaves is in the receiver's name: flaky-… fails
// twice, busy-… asks for two minutes once, refused-… is never taken, silent-… breaks the connection.

export const RESEND_KEY = 're_0123456789'

type Email = { from: string; to: string[]; subject: string; text: string; html: string }

const taken = new Map<string, { id: string; payload: string; email: Email }>()
const tries = new Map<string, number>()

/** Answers as Resend does; GET /mail/sent?to=… shows what it took for an address, and how often it was asked. */
export async function resend(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '', 'http://localhost')
  const answer = (status: number, body: object, headers: Record<string, string> = {}) => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
  }
  if (url.pathname === '/mail/sent') {
    const to = url.searchParams.get('to') ?? ''
    const emails = [...taken.values()].map(({ email }) => email).filter((email) => email.to.includes(to))
    return answer(200, { emails, tries: tries.get(to) ?? 0 })
  }
  const refuse = (statusCode: number, name: string, headers: Record<string, string> = {}) =>
    answer(statusCode, { statusCode, name, message: 'quotes the mail: secret' }, headers)
  if (request.method !== 'POST' || url.pathname !== '/mail/emails') return refuse(404, 'not_found')

  let payload = ''
  for await (const piece of request) payload += piece
  const authorization = request.headers.authorization
  if (!authorization) return refuse(401, 'missing_api_key')
  if (authorization !== `Bearer ${RESEND_KEY}`) return refuse(403, 'invalid_api_key')
  if (request.headers['content-type'] !== 'application/json') return refuse(400, 'validation_error')
  const email = JSON.parse(payload) as Email
  const [to = ''] = email.to
  const attempt = (tries.get(to) ?? 0) + 1
  tries.set(to, attempt)
  for (const field of ['from', 'subject', 'text', 'html'] as const)
    if (typeof email[field] !== 'string' || email[field] === '') return refuse(422, 'missing_required_field')
  if (to.startsWith('refused-')) return refuse(422, 'invalid_parameter')
  if (to.startsWith('silent-')) return void request.socket.destroy()
  if (to.startsWith('flaky-') && attempt <= 2) return refuse(500, 'internal_server_error')
  if (to.startsWith('busy-') && attempt === 1)
    return refuse(429, 'rate_limit_exceeded', { 'Retry-After': '1200' })

  const key = request.headers['idempotency-key']
  if (typeof key !== 'string' || key.length > 256) return refuse(400, 'invalid_idempotency_key')
  const known = taken.get(key)
  if (known && known.payload !== payload) return refuse(409, 'invalid_idempotent_request')
  if (!known) taken.set(key, { id: crypto.randomUUID(), payload, email })
  answer(200, { id: taken.get(key)?.id })
}
