import { describe, expect, it } from 'vitest'
import { KINDS } from '../../../src/domains/webhooks/incoming/kinds'
import type { Incoming } from '../../../src/domains/webhooks/incoming/proof'
import type { HmacOptions, SourceKind } from '../../../src/domains/webhooks/incoming/table'
import { isTwilios } from '../../../src/domains/webhooks/incoming/twilio'

// What the senders' own documentation and libraries publish: none of it was computed here.

function incoming(
  body: string,
  headers: Record<string, string>,
  now: number,
  url = 'https://api.example.com/api/v1/webhooks/in/x',
): Incoming {
  return {
    body: new TextEncoder().encode(body) as Uint8Array<ArrayBuffer>,
    headers: new Headers(headers),
    urls: [url],
    now,
  }
}

const signer = (kind: SourceKind, one: Incoming, secrets: string[], options: HmacOptions | null = null) =>
  KINDS[kind].verify(one, secrets, options)

const code = (work: Promise<unknown>) =>
  work.then(
    () => 'verified',
    (error: { code: string }) => error.code,
  )

it('GitHub’s: “Testing the webhook payload validation”', async () => {
  const signature = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
  const secret = "It's a Secret to Everybody"
  const one = (body: string) => incoming(body, { 'X-Hub-Signature-256': signature }, 0)
  expect(await signer('github', one('Hello, World!'), ['another secret', secret])).toBe(2)
  expect(await code(signer('github', one('Hello, World?'), [secret]))).toBe('invalid_signature')
})

describe('Slack’s: “Verifying requests from Slack”', () => {
  const body =
    'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V' +
    '&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=' +
    '&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN' +
    '&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c'
  const secret = '8f742231b10e8888abcd99yyyzzz85a5'
  const at = 1531420618
  const one = (now: number) =>
    incoming(
      body,
      {
        'X-Slack-Signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
        'X-Slack-Request-Timestamp': String(at),
      },
      now * 1000,
    )

  it('is taken within five minutes', async () => {
    expect(await signer('slack', one(at), [secret])).toBe(1)
    expect(await signer('slack', one(at + 300), [secret])).toBe(1)
    expect(await signer('slack', one(at - 300), [secret])).toBe(1)
    expect(await code(signer('slack', one(at + 301), [secret]))).toBe('signature_expired')
    expect(await code(signer('slack', one(at - 301), [secret]))).toBe('signature_expired')
    expect(await code(signer('slack', one(at), [`${secret}!`]))).toBe('invalid_signature')
  })
})

it('Standard Webhooks’ and Svix’s: the example of their documentation', async () => {
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const body = '{"test": 2432232314}'
  const at = 1614265330
  const given = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: String(at) }
  const signature = 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
  for (const prefix of ['webhook', 'svix']) {
    const headers = {
      [`${prefix}-id`]: given.id,
      [`${prefix}-timestamp`]: given.timestamp,
      [`${prefix}-signature`]: `v1,${btoa('x'.repeat(32))} ${signature} v2,abc`,
    }
    expect(await signer('standard', incoming(body, headers, at * 1000), [secret])).toBe(1)
    // Each costs a pass over the body: ten are looked at.
    const beside = (others: number) => ({
      ...headers,
      [`${prefix}-signature`]: `${`v1,${btoa('x'.repeat(32))} `.repeat(others)}${signature}`,
    })
    expect(await signer('standard', incoming(body, beside(9), at * 1000), [secret])).toBe(1)
    const tenth = signer('standard', incoming(body, beside(10), at * 1000), [secret])
    expect(await code(tenth)).toBe('invalid_signature')
    const bare = secret.replace('whsec_', '')
    expect(await signer('standard', incoming(body, headers, at * 1000), [bare])).toBe(1)
    const late = incoming(body, headers, (at + 301) * 1000)
    expect(await code(signer('standard', late, [secret]))).toBe('signature_expired')
    const other = incoming(body.replace('2', '3'), headers, at * 1000)
    expect(await code(signer('standard', other, [secret]))).toBe('invalid_signature')
  }
})

describe('Twilio’s: the vectors of its libraries', () => {
  const url = 'https://mycompany.com/myapp.php?foo=1&bar=2'
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const fields = {
    CallSid: 'CA1234567890ABCDE',
    Caller: '+14158675309',
    Digits: '1234',
    From: '+14158675309',
    To: '+18005551212',
  }
  const body = new URLSearchParams(fields).toString()
  const ask = (
    signature: string,
    where = url,
    what = body,
    type: Record<string, string> = form,
    secret = '12345',
  ) => isTwilios(incoming(what, { 'X-Twilio-Signature': signature, ...type }, 0, where), [secret])

  it('a form, in whatever order its fields are', async () => {
    const signature = 'RSOYDt4T1cUTdK1PDd93/VVr8B8='
    expect(await ask(signature)).toBe(1)
    expect(await ask(signature, url, body.split('&').reverse().join('&'))).toBe(1)
    // One that was signed without its port.
    expect(await ask(signature, url.replace('.com', '.com:1234'))).toBe(1)
    expect(await ask(signature, `${url}&baz=3`)).toBe(0)
    expect(await ask(signature, url, `${body}&More=1`)).toBe(0)
    expect(await ask(signature, url, body, form, '54321')).toBe(0)
  })

  it('a field that stands there several times', async () => {
    const several = 'Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234'
    expect(await ask('IK+Dwps556ElfBT0I3Rgjkr1wJU=', url, several)).toBe(1)
  })

  it('JSON by its hash in the URL', async () => {
    const json = '{"property": "value", "boolean": true}'
    const hash = '0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620'
    const type = { 'Content-Type': 'application/json' }
    const signature = 'a9nBmqA0ju/hNViExpshrM61xv4='
    expect(await ask(signature, `${url}&bodySHA256=${hash}`, json, type)).toBe(1)
    expect(await ask(signature, `${url}&bodySHA256=${hash}`, `${json} `, type)).toBe(0)
    // The signature of a URL alone says nothing of a body.
    const bare = await ask('RSOYDt4T1cUTdK1PDd93/VVr8B8=', url, json, type)
    expect(bare).toBe(0)
  })
})

it('plain HMAC: RFC 4231 and RFC 2202, under the headers that are named', async () => {
  const body = 'what do ya want for nothing?'
  const options: HmacOptions = {
    header: 'X-Mine',
    algorithm: 'sha256',
    encoding: 'hex',
    prefix: 'hash=',
    timestamp_header: null,
    id_header: null,
    type_header: null,
  }
  const sha256 = '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'
  const sha512 =
    '164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737'
  const as = (value: string) => incoming(body, { 'x-mine': value }, 0)
  expect(await signer('hmac', as(`hash=${sha256}`), ['Jefe'], options)).toBe(1)
  expect(await code(signer('hmac', as(sha256), ['Jefe'], options))).toBe('invalid_signature')
  expect(await signer('hmac', as(sha512), ['Jefe'], { ...options, algorithm: 'sha512', prefix: '' })).toBe(1)
  const sha1: HmacOptions = { ...options, algorithm: 'sha1', encoding: 'base64', prefix: '' }
  expect(await signer('hmac', as('7/zfauXrL6LSdBbV8YTfnCWafHk='), ['Jefe'], sha1)).toBe(1)
  expect(await code(signer('hmac', as(''), ['Jefe'], options))).toBe('signature_required')
})
