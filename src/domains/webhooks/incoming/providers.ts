import type { Settings } from '../../../env'
import { problem } from '../../../lib/problem'
import type { Said } from './kinds'
import { fieldOf, memberOf } from './message'
import {
  asKey,
  fromBase64,
  fromHex,
  type Incoming,
  joined,
  need,
  noSuchVersion,
  proven,
  refuseOld,
  secondsIn,
  signerByEd25519,
  signerOf,
} from './proof'
import type { Provider } from './table'

// The operator's own providers: one address of each for all tenants. What they are told of a tenant is not listened to
// here (metadata, client_reference_id, client_state): whose it is follows from ids that the provider gave out, and that
// we stored when we asked.

type OfProvider = {
  /** What the operator set; none where the provider is not used. */
  secrets: (settings: Settings) => readonly string[]
  verify: (incoming: Incoming, secrets: readonly string[]) => Promise<number>
  /** What it is, and the provider's ids in it that may have been stored; 422 where it is none of the provider's. */
  read: (value: unknown) => Said & { references: string[] }
}

const ids = (...values: (string | null)[]): string[] => [...new Set(values.filter((one) => one !== null))]

function saidBy(id: string | null, type: string | null, where: [id: string, type: string]): Said {
  if (id !== null && type !== null) return { key: id, type }
  throw problem.invalid({ [id === null ? where[0] : where[1]]: 'must be a text of 1 to 255 characters' })
}

/** docs.stripe.com/webhooks, “Verify webhook signatures manually”. */
const stripe: OfProvider = {
  secrets: ({ STRIPE_WEBHOOK_SECRET }) => STRIPE_WEBHOOK_SECRET,
  verify: async ({ body, headers, now }, secrets) => {
    const items = need(headers, 'Stripe-Signature')
      .split(',')
      .map((item) => item.trim())
    const of = (name: string) =>
      items.flatMap((item) => (item.startsWith(`${name}=`) ? [item.slice(name.length + 1)] : []))
    const [at = '', ...more] = of('t')
    if (of('v1').length === 0) throw noSuchVersion('Stripe-Signature', 'v1')
    const signedAt = secondsIn('t in Stripe-Signature', more.length > 0 ? '' : at)
    const text = joined(`${at}.`, body)
    const signer = await signerOf('SHA-256', secrets.map(asKey), of('v1').map(fromHex), text)
    const number = proven(signer, 'Stripe-Signature')
    refuseOld(signedAt, 300, now)
    return number
  },
  read: (value) => {
    const object = memberOf(memberOf(value, 'data'), 'object')
    // An expanded object stands in place of its id.
    const id = (name: string) => fieldOf(object, name) ?? fieldOf(memberOf(object, name), 'id')
    return {
      ...saidBy(fieldOf(value, 'id'), fieldOf(value, 'type'), ['id', 'type']),
      references: ids(
        ...[fieldOf(object, 'id'), id('customer'), id('subscription'), id('payment_intent')],
        ...[fieldOf(memberOf(value, 'related_object'), 'id'), fieldOf(value, 'account')],
      ),
    }
  },
}

/** developers.telnyx.com, “Receiving webhooks”. */
const telnyx: OfProvider = {
  secrets: ({ TELNYX_PUBLIC_KEY }) => TELNYX_PUBLIC_KEY,
  verify: async ({ body, headers, now }, keys) => {
    const given = fromBase64(need(headers, 'telnyx-signature-ed25519'))
    const at = need(headers, 'telnyx-timestamp')
    const signedAt = secondsIn('telnyx-timestamp', at)
    const signer = await signerByEd25519(keys.map(fromBase64), [given], joined(`${at}|`, body))
    const number = proven(signer, 'telnyx-signature-ed25519')
    refuseOld(signedAt, 300, now)
    return number
  },
  read: (value) => {
    const data = memberOf(value, 'data')
    const payload = memberOf(data, 'payload')
    const names = [
      'call_control_id',
      'call_leg_id',
      'call_session_id',
      'connection_id',
      'messaging_profile_id',
    ]
    return {
      ...saidBy(fieldOf(data, 'id'), fieldOf(data, 'event_type'), ['data.id', 'data.event_type']),
      references: ids(...names.map((name) => fieldOf(payload, name)), fieldOf(payload, 'id')),
    }
  },
}

/** docs.ultravox.ai, “Securing webhooks”. */
const ultravox: OfProvider = {
  secrets: ({ ULTRAVOX_WEBHOOK_SECRET }) => ULTRAVOX_WEBHOOK_SECRET,
  verify: async ({ body, headers, now }, secrets) => {
    const given = need(headers, 'X-Ultravox-Webhook-Signature').split(',')
    const at = need(headers, 'X-Ultravox-Webhook-Timestamp')
    const signedAt = secondsOf(at)
    const signatures = given.map((one) => fromHex(one.trim()))
    const number = proven(
      await signerOf('SHA-256', secrets.map(asKey), signatures, joined(body, at)),
      'X-Ultravox-Webhook-Signature',
    )
    refuseOld(signedAt, 60, now)
    return number
  },
  read: (value) => {
    const call = fieldOf(memberOf(value, 'call'), 'callId')
    const { key, type } = saidBy(call, fieldOf(value, 'event'), ['call.callId', 'event'])
    return { key: `${type}:${key}`, type, references: [key] }
  },
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?$/

/** Seconds since 1970 of a time in ISO 8601, which is UTC where it does not say; 401 for anything else. */
function secondsOf(text: string): number {
  const [time, zone] = TIME.exec(text) ?? []
  const ms = time === undefined ? Number.NaN : Date.parse(zone ? time : `${time}Z`)
  if (!Number.isNaN(ms)) return Math.floor(ms / 1000)
  const header = 'X-Ultravox-Webhook-Timestamp'
  throw problem.unauthorized('invalid_signature', `${header} must be a time in ISO 8601`, { header })
}

export const PROVIDERS: Record<Provider, OfProvider> = { stripe, telnyx, ultravox }
