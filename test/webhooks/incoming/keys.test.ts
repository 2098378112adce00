import { env } from 'cloudflare:workers'
import { afterAll, describe, expect, it } from 'vitest'
import { resealAll } from '../../../src/data/sealed'
import { type Bindings, settingsOf } from '../../../src/env'
import { Isolate } from '../../identity/isolates'
import { makeWorld } from '../../world'
import { hmacOf, makeSource, ofGithub, outcome, STRIPE } from './kit'

const bindings = env as unknown as Bindings
const OLD = settingsOf(bindings).MASTER_KEY
const NEW = 'dev_another_master_key_for_the_tests_0123456789'
const under = (MASTER_KEY: string, ...previous: string[]) =>
  new Isolate({ MASTER_KEY, MASTER_KEY_PREVIOUS: previous.join(',') } as never)
const keysOf = (MASTER_KEY: string, ...MASTER_KEY_PREVIOUS: string[]) => ({ MASTER_KEY, MASTER_KEY_PREVIOUS })

// Other tests find everything under the key that they have.
afterAll(async () => {
  await resealAll(bindings, keysOf(OLD, NEW))
  await env.DB.prepare('delete from server_secrets').run()
})

describe('the secrets that webhooks are known by', { timeout: 30_000 }, () => {
  it('a source’s are sealed anew under another master key', async () => {
    const id = await makeSource(await makeWorld(), { kind: 'github' })
    const send = (isolate: Isolate) => {
      const { headers } = ofGithub('{"a":1}')
      return outcome(isolate.ask('POST', `/api/v1/webhooks/in/${id}`, { body: { a: 1 }, headers }))
    }
    expect((await send(under(NEW, OLD))).status).toBe(200)
    await resealAll(bindings, keysOf(NEW, OLD))
    expect((await send(under(NEW))).status).toBe(200)
  })

  it('a provider’s are settings: without one its route is 404, and a wrong one stops the service by name', async () => {
    const isolate = (settings: Record<string, string>) => new Isolate(settings as never)
    const body = { id: `evt_${crypto.randomUUID()}`, type: 'x' }
    const at = Math.floor(Date.now() / 1000)
    const v1 = hmacOf('sha256', STRIPE, `${at}.${JSON.stringify(body)}`).digest('hex')
    const send = (one: Isolate) =>
      outcome(
        one.ask('POST', '/api/v1/webhooks/stripe', {
          body,
          headers: { 'Stripe-Signature': `t=${at},v1=${v1}` },
        }),
      )
    const none = await send(isolate({ PAYMENTS: '', STRIPE_WEBHOOK_SECRET: '' }))
    expect([none.status, none.code]).toEqual([404, 'not_found'])
    // Who sells by Stripe must hear what was paid.
    expect(() => settingsOf(isolate({ STRIPE_WEBHOOK_SECRET: '' }).bindings)).toThrow(/misconfigured/)
    expect((await send(isolate({ STRIPE_WEBHOOK_SECRET: STRIPE }))).status).toBe(202)
    for (const [name, value] of [
      ['STRIPE_WEBHOOK_SECRET', 'sk_live_of_the_account'],
      ['STRIPE_WEBHOOK_SECRET', 'whsec_one_secret,whsec_two_secret,whsec_three_secret'],
      ['TELNYX_PUBLIC_KEY', 'AAAA'],
      ['ULTRAVOX_WEBHOOK_SECRET', 'short'],
    ] as const)
      expect(() => settingsOf(isolate({ [name]: value }).bindings)).toThrow(/misconfigured/)
  })
})
