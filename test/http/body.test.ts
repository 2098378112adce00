import { beforeAll, describe, expect, it } from 'vitest'
import { call, callJson, makeWorld, type World } from '../world'
import { expectError } from './expect-error'
import { serviceWith } from './service'

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const json = { 'Content-Type': 'application/json' }
const post = (raw: BodyInit | null, headers: Record<string, string> = json) =>
  call('POST', '/api/v1/interactions', {
    token: world.admin.token,
    headers,
    ...(raw === null ? {} : { raw }),
  })
const patchMe = (raw: BodyInit, headers: Record<string, string> = json) =>
  call('PATCH', '/api/v1/auth/me', { token: world.member.token, headers, raw })

describe('a JSON body', () => {
  for (const raw of [
    '',
    '{',
    '{"text":"a"',
    'text=a',
    "{'text':'a'}",
    '{"text":"a"} x',
    'undefined',
    '{"text":NaN}',
  ])
    it(`is refused where it is not JSON: ${JSON.stringify(raw)}`, async () => {
      await expectError(post(raw), 'malformed_json')
    })

  it('is refused where it is not UTF-8, rather than kept with other letters', async () => {
    const bytes = new Uint8Array([...new TextEncoder().encode('{"text":"a'), 0xff, 0xfe, 0x22, 0x7d])
    await expectError(post(bytes), 'malformed_json')
  })

  for (const raw of ['[]', '"text"', '1', 'null', 'true', '[{"text":"a"}]'])
    it(`is refused where it is no object: ${raw}`, async () => {
      const { details } = await expectError(post(raw), 'validation_failed')
      expect(Object.keys(details.fields ?? {})).toEqual(['body'])
    })

  it('names every wrong field by its path, and unknown ones by name', async () => {
    const raw = JSON.stringify({ text: 7, speaker_id: '', metadata: [], wrong: 1, 'also wrong': {} })
    const { details } = await expectError(post(raw), 'validation_failed')
    expect(Object.keys(details.fields ?? {}).sort()).toEqual([
      'also wrong',
      'metadata',
      'speaker_id',
      'text',
      'wrong',
    ])
    expect(details.fields?.wrong).toBe('is not a known field')
  })

  it('names unknown fields inside of fields', async () => {
    const answer = call('PATCH', '/api/v1/tenants/current', {
      token: world.admin.token,
      body: { settings: { open_registration: true, colour: 'red', max_users: 0 } },
    })
    const { details } = await expectError(answer, 'validation_failed')
    expect(Object.keys(details.fields ?? {}).sort()).toEqual(['settings.colour', 'settings.max_users'])
    const tenant = await callJson<{ settings: object }>('GET', '/api/v1/tenants/current', {
      token: world.admin.token,
    })
    expect(tenant.data.settings).toMatchObject({ open_registration: false })
  })

  it('never echoes what was sent', async () => {
    const secret = 'hunter2hunter2'
    const answer = await call('POST', '/api/v1/auth/register', {
      body: { email: 'not an address', password: [secret], full_name: { secret }, tenant_id: secret },
    })
    expect(answer.status).toBe(422)
    expect(await answer.text()).not.toContain(secret)
  })

  it('takes a name of Object.prototype as the unknown field that it is', async () => {
    const { details } = await expectError(post('{"text":"a","__proto__":{"x":1}}'), 'validation_failed')
    expect(Object.keys(details.fields ?? {})).toEqual(['__proto__'])
    const kept = await callJson<{ metadata: object }>('POST', '/api/v1/interactions', {
      token: world.admin.token,
      headers: json,
      raw: '{"text":"a","metadata":{"constructor":1,"__proto__":{"polluted":true},"toString":"x"}}',
    })
    expect([201, 422]).toContain(kept.status)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })

  for (const [name, raw] of [
    ['lists', `{"text":"a","metadata":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`],
    ['objects', `{"text":"a","metadata":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`],
    ['an unknown field', `{"text":"a","zz":${'['.repeat(500_000)}${']'.repeat(500_000)}}`],
  ] as const)
    it(`is refused where it is nested beyond use (${name})`, async () => {
      const { details } = await expectError(post(raw), 'validation_failed')
      expect(details.fields?.body).toContain('nested')
    })

  it('may hold brackets in its texts as it likes', async () => {
    const text = `${'[{'.repeat(2000)}"\\"${'{'.repeat(100)}`
    const kept = await callJson<{ text: string }>('POST', '/api/v1/interactions', {
      token: world.admin.token,
      body: { text },
    })
    expect(kept.status).toBe(201)
    expect(kept.data.text).toBe(text)
  })

  it('keeps every character, NUL and the astral ones too', async () => {
    const text = 'a\u0000b\u0007\u2028\ufeff\u{1f600}ﬀ e\u0301'
    const made = await callJson<{ id: string; text: string }>('POST', '/api/v1/interactions', {
      token: world.admin.token,
      body: { text },
    })
    const read = await callJson<{ text: string }>('GET', `/api/v1/interactions/${made.data.id}`, {
      token: world.admin.token,
    })
    expect(read.data.text).toBe(text)
  })
})

describe('the content type of a body', () => {
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonp',
    'text/json',
    'application/',
    'application/json-seq',
  ])
    it(`${type} is refused`, async () => {
      const { details } = await expectError(
        patchMe('{"full_name":"a"}', { 'Content-Type': type }),
        'unsupported_media_type',
      )
      expect(details).toEqual({ expected: 'application/json', received: type })
    })

  it('is refused where it is missing', async () => {
    const bytes = new TextEncoder().encode('{"text":"a"}')
    await expectError(post(bytes, {}), 'unsupported_media_type')
  })

  for (const type of [
    'application/json',
    'APPLICATION/JSON',
    'application/json;charset=utf-8',
    'application/json ; charset="utf-8"',
    'application/vnd.api+json',
    'application/problem+json; x=y; z="a;b"',
  ])
    it(`${type} is read, never passed over`, async () => {
      const name = crypto.randomUUID()
      const answer = await patchMe(JSON.stringify({ full_name: name }), { 'Content-Type': type })
      expect(answer.status).toBe(200)
      expect(((await answer.json()) as { data: { full_name: string } }).data.full_name).toBe(name)
    })

  it('with two suffixes is refused or read, never passed over', async () => {
    const name = crypto.randomUUID()
    const answer = await patchMe(JSON.stringify({ full_name: name }), {
      'Content-Type': 'application/a+b+json',
    })
    if (answer.status !== 415)
      expect(((await answer.json()) as { data: { full_name: string } }).data.full_name).toBe(name)
  })
})

describe('the size of a body', () => {
  const MIB = 1024 * 1024
  const sized = (size: number) => `{"text":"a","zz":"${'x'.repeat(size - 20)}"}`

  it('may be 1 MiB and no byte more', async () => {
    expect(sized(MIB).length).toBe(MIB)
    await expectError(post(sized(MIB)), 'validation_failed')
    const { details } = await expectError(post(sized(MIB + 1)), 'body_too_large')
    expect(details).toEqual({ limit_bytes: MIB })
  })

  it('is counted where it was not announced', async () => {
    const stream = (chunks: number) => {
      const chunk = new Uint8Array(64 * 1024).fill(0x20)
      let sent = 0
      return new ReadableStream<Uint8Array>({
        pull(controller) {
          if (sent++ < chunks) controller.enqueue(chunk)
          else {
            controller.enqueue(new TextEncoder().encode('{"text":"streamed"}'))
            controller.close()
          }
        },
      })
    }
    const service = serviceWith({})
    const send = (body: ReadableStream) =>
      service('POST', 'http://localhost:8787/api/v1/interactions', {
        token: world.admin.token,
        headers: json,
        body,
      })
    expect((await send(stream(1))).status).toBe(201)
    await expectError(send(stream(17)), 'body_too_large')
  })

  it('is refused where it is compressed: nothing here unpacks it', async () => {
    await expectError(
      post('{"text":"Hello"}', { ...json, 'Content-Encoding': 'gzip' }),
      'unsupported_media_type',
    )
    expect((await post('{"text":"Hello"}', { ...json, 'Content-Encoding': 'identity' })).status).toBe(201)
  })

  it('is counted before the key of idempotency is', async () => {
    const headers = { ...json, 'X-Idempotency-Key': crypto.randomUUID() }
    const first = await post(sized(MIB + 1), headers)
    // So the key stands for a body that nobody read: the refusal is kept, and another body is another request.
    const again = await post(sized(MIB + 1), headers)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect(await again.text()).toBe(await first.clone().text())
    await expectError(first, 'body_too_large')
    await expectError(post('{"text":"small"}', headers), 'idempotency_key_reused')
    const other = { ...json, 'X-Idempotency-Key': crypto.randomUUID() }
    expect((await post('{"text":"small"}', other)).status).toBe(201)
    // A key that is finished stands for the body that it came with, and hides no refusal of another.
    await expectError(post(sized(MIB + 1), other), 'idempotency_key_reused')
  })
})

describe('JSON that could not be kept as it was sent', () => {
  const metadata = (value: string) => post(`{"text":"a","metadata":${value}}`)

  it('is refused: half of a surrogate pair, in a value or a name', async () => {
    for (const half of ['\\ud83d', '\\uDE00', 'a\\ud83dz', '\\ud83d\\ud83d\\ude00', '\\\\\\udfff']) {
      const error = await expectError(metadata(`{"a":["${half}"]}`), 'validation_failed')
      expect(error.details.fields).toEqual({ 'metadata.a.0': 'must be whole characters (Unicode)' })
      await expectError(metadata(`{"${half}":1}`), 'validation_failed')
      await expectError(post(`{"text":"${half}"}`), 'validation_failed')
    }
  })

  it('is refused: a number that no double holds', async () => {
    for (const number of ['1e400', '-1E+400', `1${'0'.repeat(400)}`]) {
      const error = await expectError(
        call('POST', '/api/v1/events', {
          token: world.admin.token,
          headers: json,
          raw: `{"type":"order.shipped","data":{"n":${number}}}`,
        }),
        'validation_failed',
      )
      expect(error.details.fields).toEqual({ 'data.n': 'must be a number within ±1.8e308' })
    }
  })

  it('is refused: a member called __proto__', async () => {
    for (const name of ['__proto__', '\\u005f_proto__', '__\\u0070roto__']) {
      const error = await expectError(metadata(`{"${name}":{"a":1}}`), 'validation_failed')
      expect(Object.keys(error.details.fields ?? {})).toEqual(['metadata.__proto__'])
    }
  })

  it('is taken where it only looks like it', async () => {
    const value = { pair: '😀', text: '\\ud83d __proto__ 1e400', number: 1e300, digits: 1e21 }
    const raw = JSON.stringify(value).replace('😀', '\\ud83d\\ude00')
    const answer = await metadata(raw)
    expect(answer.status).toBe(201)
    expect(((await answer.json()) as { data: { metadata: unknown } }).data.metadata).toEqual(value)
  })
})
