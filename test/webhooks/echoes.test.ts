import { describe, expect, it } from 'vitest'
import { makeAttempt, type Request } from '../../src/domains/webhooks/deliveries/attempt'
import { settingsOf } from '../../src/env'
import { requestContext } from '../world'
import { makeReceiver } from './receiver'

const VALUE = 'Digest username="ada", response="6629fae49393a05397450978507c4ef1"'
const TOKEN = 'Bearer 0123456789abcdef0123456789abcdef'

/** What the log shows of a receiver's answer, where the headers that it was sent are masked. */
async function logged(step: { body?: string; headers?: Record<string, string> }) {
  const { url } = await makeReceiver(step)
  const headers = { authorization: VALUE, 'x-token': TOKEN, 'x-plain': 'plain to see' }
  const masked = { ...headers, authorization: '********', 'x-token': '********' }
  const request: Request = {
    ...{
      url,
      headers,
      masked,
      values: [],
      refusal: null,
      secrets: [],
      signers: [],
      profile: 'standard',
    },
    ...{ timeout_ms: 5000, event_id: 'msg_1', body: '{}', number: 1, begins: Date.now(), trace_id: null },
  }
  return (await makeAttempt(request, settingsOf(requestContext().env))).attempt
}

describe('what an answer echoes of a credential', { timeout: 20_000 }, () => {
  it('is masked as it was sent, without its scheme, and within a string of JSON', async () => {
    const body = JSON.stringify({ all: VALUE, token: TOKEN.slice('Bearer '.length), plain: 'plain to see' })
    const { response_body } = await logged({ body: `${VALUE} ${body}` })
    expect(response_body).toBe('******** {"all":"********","token":"********","plain":"plain to see"}')
  })

  it('is masked where the log ends within it, in the body and in a header', async () => {
    const text = TOKEN.slice('Bearer '.length)
    for (const left of [8, 20, 31]) {
      const body = `${'.'.repeat(16 * 1024 - left)}${text} and more`
      expect((await logged({ body })).response_body).toBe(`${'.'.repeat(16 * 1024 - left)}********`)
    }
    const { response_headers } = await logged({
      headers: { 'x-echo': `${'.'.repeat(15_900)}${`${text} `.repeat(40)}` },
    })
    expect(response_headers?.['x-echo']).toMatch(/^\.+(?:\*{8} ?)+[0-9a-f]{0,7}$/)
  })
})
