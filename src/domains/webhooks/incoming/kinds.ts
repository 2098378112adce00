import { sha256 } from '../../../lib/crypto'
import { problem } from '../../../lib/problem'
import { fieldOf, type Message, memberOf } from './message'
import {
  asKey,
  type Bytes,
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
import { PROVIDERS } from './providers'
import type { HmacOptions, SourceKind } from './table'
import { isTwilios, twiliosOwn } from './twilio'

/** What a sender says of a webhook, once it is known that it did. */
export type Said = { key: string; type: string }

/** How a kind of source signs, and what it calls what it sends. */
export type Kind = {
  /** The number of the secret (from 1) that signed the bytes; 401 where none did. */
  verify: (incoming: Incoming, secrets: readonly string[], options: HmacOptions | null) => Promise<number>
  /** What it is, from what was verified. */
  read: (incoming: Incoming, message: Message, options: HmacOptions | null) => Said | Promise<Said>
  /** Whether it is always JSON, whatever its Content-Type says. */
  isJson?: true
}

/** Standard Webhooks, Stripe and Slack all allow five minutes. */
const WINDOW_S = 300

/** The longest id or type of a sender's own. */
const MOST_KEY = 255

/** What the sender knows it by; 400 where it does not say. */
export function idIn(headers: Headers, ...names: string[]): string {
  for (const name of names) {
    const id = headers.get(name)?.trim()
    if (id && id.length <= MOST_KEY) return id
  }
  throw problem(
    'malformed_header',
    `${names[0]} must hold the webhook’s id, of at most ${MOST_KEY} characters`,
    {
      details: { header: names[0] },
    },
  )
}

/** What a header calls a webhook, as much of it as a body may say. */
const typeIn = (headers: Headers, name: string): string => (headers.get(name) ?? '').slice(0, MOST_KEY)

/** Where a sender has no ids, the same bytes are the same webhook. */
export const byContent = async (body: Bytes): Promise<string> => `sha256:${await sha256(body)}`

const keyOfStandard = (secret: string): Bytes | null =>
  secret.startsWith('whpk_') ? null : fromBase64(secret.replace(/^whsec_/, ''))

/** standardwebhooks.com; Svix sends the same under names of its own. */
const standard: Kind = {
  verify: async ({ body, headers, now }, secrets) => {
    const id = need(headers, 'webhook-id', 'svix-id')
    const at = need(headers, 'webhook-timestamp', 'svix-timestamp')
    const list = need(headers, 'webhook-signature', 'svix-signature').split(/\s+/)
    const of = (version: string) =>
      list.flatMap((one) =>
        one.startsWith(`${version},`) ? [fromBase64(one.slice(version.length + 1))] : [],
      )
    if (of('v1').length + of('v1a').length === 0) throw noSuchVersion('webhook-signature', 'v1 or v1a')
    const signedAt = secondsIn('webhook-timestamp', at)
    const text = joined(`${id}.${at}.`, body)
    const publicKeys = secrets.map((one) => (one.startsWith('whpk_') ? fromBase64(one.slice(5)) : null))
    // A key of nothing signs nothing: each secret keeps its number.
    const keys = secrets.map((one) => keyOfStandard(one) ?? crypto.getRandomValues(new Uint8Array(32)))
    const signer =
      (await signerOf('SHA-256', keys, of('v1'), text)) ||
      (await signerByEd25519(publicKeys, of('v1a'), text))
    const number = proven(signer, 'webhook-signature')
    refuseOld(signedAt, WINDOW_S, now)
    return number
  },
  read: ({ headers }, message) => ({
    key: idIn(headers, 'webhook-id', 'svix-id'),
    type: fieldOf(message.value, 'type') ?? '',
  }),
}

/** docs.github.com/webhooks, “Validating webhook deliveries”. Neither id nor time is signed. */
const github: Kind = {
  verify: async ({ body, headers }, secrets) => {
    const header = need(headers, 'X-Hub-Signature-256')
    if (!header.startsWith('sha256=')) throw noSuchVersion('X-Hub-Signature-256', 'sha256')
    const signer = await signerOf('SHA-256', secrets.map(asKey), [fromHex(header.slice(7))], body)
    return proven(signer, 'X-Hub-Signature-256')
  },
  read: ({ headers }) => ({
    key: idIn(headers, 'X-GitHub-Delivery'),
    type: typeIn(headers, 'X-GitHub-Event'),
  }),
  isJson: true,
}

/** docs.slack.dev, “Verifying requests from Slack”. */
const slack: Kind = {
  verify: async ({ body, headers, now }, secrets) => {
    const header = need(headers, 'X-Slack-Signature')
    const at = need(headers, 'X-Slack-Request-Timestamp')
    if (!header.startsWith('v0=')) throw noSuchVersion('X-Slack-Signature', 'v0')
    const signedAt = secondsIn('X-Slack-Request-Timestamp', at)
    const text = joined(`v0:${at}:`, body)
    const signer = await signerOf('SHA-256', secrets.map(asKey), [fromHex(header.slice(3))], text)
    const number = proven(signer, 'X-Slack-Signature')
    refuseOld(signedAt, WINDOW_S, now)
    return number
  },
  read: async ({ body }, { value }) => ({
    // A command and a click have a trigger, which is theirs alone.
    key: fieldOf(value, 'event_id') ?? fieldOf(value, 'trigger_id') ?? (await byContent(body)),
    type:
      fieldOf(memberOf(value, 'event'), 'type') ??
      fieldOf(value, 'type') ??
      (fieldOf(value, 'command') ? 'slash_command' : ''),
  }),
}

/** shopify.dev, “Verify webhooks” and “Ignore duplicates”. One event may come under several topics. */
const shopify: Kind = {
  verify: async ({ body, headers }, secrets) => {
    const given = fromBase64(need(headers, 'X-Shopify-Hmac-Sha256'))
    return proven(await signerOf('SHA-256', secrets.map(asKey), [given], body), 'X-Shopify-Hmac-Sha256')
  },
  read: ({ headers }) => {
    const topic = typeIn(headers, 'X-Shopify-Topic')
    return { key: `${topic}:${idIn(headers, 'X-Shopify-Event-Id', 'X-Shopify-Webhook-Id')}`, type: topic }
  },
  isJson: true,
}

const twilio: Kind = {
  verify: async (incoming, secrets) => proven(await isTwilios(incoming, secrets), 'X-Twilio-Signature'),
  read: async ({ body }, { value }) => {
    const { key, type } = twiliosOwn(value)
    return { key: key ?? (await byContent(body)), type }
  },
}

const HASHES = { sha1: 'SHA-1', sha256: 'SHA-256', sha512: 'SHA-512' } as const

/** A sender that signs its bytes, and perhaps the time before them, under headers that the tenant names. */
const hmac: Kind = {
  verify: async ({ body, headers, now }, secrets, options) => {
    if (!options) throw new Error('a source of the kind hmac has no options')
    const value = need(headers, options.header)
    const at = options.timestamp_header === null ? null : need(headers, options.timestamp_header)
    if (!value.startsWith(options.prefix)) throw noSuchVersion(options.header, options.prefix)
    const signedAt = at === null ? null : secondsIn(options.timestamp_header ?? '', at)
    const bare = value.slice(options.prefix.length)
    const given = options.encoding === 'hex' ? fromHex(bare) : fromBase64(bare)
    const text = at === null ? body : joined(`${at}.`, body)
    const signer = await signerOf(HASHES[options.algorithm], secrets.map(asKey), [given], text)
    const number = proven(signer, options.header)
    if (signedAt !== null) refuseOld(signedAt, WINDOW_S, now)
    return number
  },
  read: async ({ body, headers }, { value }, options) => ({
    key: options?.id_header ? idIn(headers, options.id_header) : await byContent(body),
    type: options?.type_header ? typeIn(headers, options.type_header) : (fieldOf(value, 'type') ?? ''),
  }),
}

/** A tenant’s own account with a provider that the operator has one with, too: the same in all, but for whose key it is. */
const ofProvider = (name: 'telnyx' | 'ultravox'): Kind => ({
  verify: PROVIDERS[name].verify,
  read: (_incoming, { value }) => {
    const { key, type } = PROVIDERS[name].read(value)
    return { key, type }
  },
  isJson: true,
})

export const KINDS: Record<SourceKind, Kind> = {
  ...{ standard, github, slack, shopify, twilio, hmac },
  ...{ telnyx: ofProvider('telnyx'), ultravox: ofProvider('ultravox') },
}

/** The provider whose webhooks a kind of source brings. */
export const providerOfKind = (kind: SourceKind): 'telnyx' | 'ultravox' | null =>
  kind === 'telnyx' || kind === 'ultravox' ? kind : null
