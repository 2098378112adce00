import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { type Message, send, type Target } from '../../src/domains/webhooks/deliveries/sending'
import { signature } from '../../src/domains/webhooks/deliveries/signature'
import { makeSecret } from '../../src/domains/webhooks/endpoints/secret'
import { settingsOf } from '../../src/env'
import { requestContext } from '../world'
import { makeReceiver } from './receiver'

const ID = 'msg_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d'
const now = Math.floor(Date.now() / 1000)
const body = '{"text":"grüße 👋"}'

const headers = (value: string, timestamp = now) => ({
  'webhook-id': ID,
  'webhook-timestamp': String(timestamp),
  'webhook-signature': value,
})

describe('signature', () => {
  it('is the known one of the specification', async () => {
    // The example of the standardwebhooks libraries.
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
    const value = await signature(
      [secret],
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1614265330,
      '{"test": 2432232314}',
    )
    expect(value).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
  })

  it('is accepted by the standardwebhooks package', async () => {
    const secret = makeSecret()
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const value = await signature([secret], ID, now, body)
    expect(new Webhook(secret).verify(body, headers(value))).toEqual({ text: 'grüße 👋' })
  })

  it('is made with every secret, so that each of them verifies', async () => {
    const secrets = [makeSecret(), makeSecret()]
    const value = await signature(secrets, ID, now, body)
    for (const secret of secrets)
      expect(new Webhook(secret).verify(body, headers(value))).toEqual({ text: 'grüße 👋' })
    expect(() => new Webhook(makeSecret()).verify(body, headers(value))).toThrow()
  })

  it('covers the id, the time and every byte of the body', async () => {
    const secret = makeSecret()
    const value = await signature([secret], ID, now, body)
    const verify =
      (text: string, change: Record<string, string> = {}) =>
      () =>
        new Webhook(secret).verify(text, { ...headers(value), ...change })
    expect(verify(body)).not.toThrow()
    expect(verify(`${body} `)).toThrow()
    expect(verify(body, { 'webhook-id': `${ID}x` })).toThrow()
    expect(verify(body, { 'webhook-timestamp': String(now + 1) })).toThrow()
  })
})

it('is made by no secret and no key whose time ended since the endpoint was read', async () => {
  const receiver = await makeReceiver({})
  const ends = (ms: number) => Date.now() + ms
  const { privateKey } = (await crypto.subtle.generateKey('Ed25519', true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair
  const target = {
    ...{
      url: receiver.url,
      payload: 'event',
      headers: {},
      masked: {},
      templates: {},
      values: [],
      refusal: null,
    },
    ...{ profile: 'standard', timeout_ms: 5000 },
    secrets: [-1, 60_000].map((ms) => ({
      plain: makeSecret(),
      expires_at: new Date(ends(ms)).toISOString(),
    })),
    signers: [-1, 60_000].map((ms) => ({ key: privateKey, until: ends(ms) })),
  } satisfies Target
  const message: Message = {
    ...{ event_id: ID, event_type: 'a', tenant_id: ID, timestamp: '2026-01-01T00:00:00.000Z' },
    ...{ data: '{}', trace_id: null },
  }
  await send(settingsOf(requestContext().env), target, message, { number: 1, begins: Date.now() })
  const [seen] = await receiver.seen()
  expect(seen?.headers['webhook-signature']).toMatch(/^v1,[^ ]+ v1a,[^ ]+$/)
  const [, young] = target.secrets
  expect(() => new Webhook(young?.plain ?? '').verify(seen?.body ?? '', seen?.headers ?? {})).not.toThrow()
})
