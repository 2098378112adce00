import type { Context } from '../../data/context'
import { objectOf } from '../../data/objects'
import type { Bindings } from '../../env'
import { randomBytes, sha256 } from '../../lib/crypto'
import { base64url, fromBase64url, text, utf8 } from '../../lib/encoding'
import { iso, isUuid } from '../../lib/ids'
import { problem } from '../../lib/problem'
import type { KeyLimits } from '../identity/api-keys/limits'
import type { Credential } from '../identity/recheck'
import { type Ticketed, ticketsAreTakenBy } from '../identity/tickets'
import { credentialOf } from './listener'

/** A ticket counts for so long. */
export const TICKET_MS = 30_000

/** Whose socket a ticket opens, and with what it was made: sealed, for the routes that need that very credential. */
export type Bearer = {
  tenant_id: string
  credential: Credential
  /** Of an API key: its own limits, by which the socket is counted as the key's requests are. */
  limits: KeyLimits | null
  sealed: string | null
  /** Milliseconds since 1970. */
  made_at: number
}

const objectFor = async (env: Bindings, tenantId: string, secret: string) =>
  objectOf(env, env.REALTIME_TICKETS, tenantId, `${tenantId}/${await sha256(secret)}`)

/** A ticket for a browser that can't set a header on a socket: good once, for 30 seconds. */
export async function makeTicket(
  ctx: Context,
  made: Ticketed | null,
): Promise<{ ticket: string; expires_at: string }> {
  const secret = base64url(randomBytes(32))
  const sealed = made && (await sealedBy(secret, made))
  const expires = ctx.now + TICKET_MS
  const { principal, tenant } = ctx
  const limits = principal.kind === 'api_key' ? principal.limits : null
  const object = await objectFor(ctx.env, tenant.id, secret)
  await object.keep(
    { tenant_id: tenant.id, credential: credentialOf(ctx), limits, sealed, made_at: ctx.now },
    expires,
  )
  return { ticket: `rt_${ctx.tenant.id}_${secret}`, expires_at: iso(expires) }
}

/** Whose ticket it is; it is used up. 401 where it was used, has expired or is none. */
export async function takeTicket(env: Bindings, ticket: string): Promise<Bearer> {
  const [, tenantId = '', secret = ''] = /^rt_([0-9a-f-]{36})_([\w-]{43})$/.exec(ticket) ?? []
  const bearer = isUuid(tenantId) ? await (await objectFor(env, tenantId, secret)).take(Date.now()) : null
  if (!bearer) throw problem.unauthorized('invalid_token', 'The ticket was used, has expired, or is none')
  return bearer
}

ticketsAreTakenBy(async ({ env }, ticket) => {
  const { sealed } = await takeTicket(env, ticket)
  if (sealed === null)
    throw problem.unauthorized(
      'invalid_token',
      'A ticket made in a tenant of others opens /realtime/ws alone',
    )
  return openedBy(secretOf(ticket), sealed)
})

// What a ticket was made with is kept under the ticket's own secret, which its object does not have.

const secretOf = (ticket: string) => ticket.slice(-43)

async function keyOf(secret: string): Promise<CryptoKey> {
  const raw = await crypto.subtle.digest('SHA-256', utf8(`ticket:${secret}`))
  return crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])
}

async function sealedBy(secret: string, made: Ticketed): Promise<string> {
  const iv = randomBytes(12)
  const plain = utf8(JSON.stringify(made))
  const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, await keyOf(secret), plain)
  return `${base64url(iv)}.${base64url(new Uint8Array(sealed))}`
}

async function openedBy(secret: string, sealed: string): Promise<Ticketed> {
  const [iv, body] = sealed.split('.').map((part) => fromBase64url(part) ?? new Uint8Array())
  const params = { name: 'AES-GCM', iv: iv ?? new Uint8Array() }
  const plain = await crypto.subtle.decrypt(params, await keyOf(secret), body ?? new Uint8Array())
  return JSON.parse(text(new Uint8Array(plain))) as Ticketed
}
