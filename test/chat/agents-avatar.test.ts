import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { pictureType } from '../../src/domains/chat/agents/avatar'
import { call, callJson, makeWorld, type World } from '../world'

type Agent = { id: string; avatar: string | null }

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const bytes = (...parts: (string | number[])[]) =>
  Uint8Array.from(
    parts.flatMap((part) => (typeof part === 'string' ? [...part].map((c) => c.charCodeAt(0)) : part)),
  )
const PICTURES = {
  'image/png': bytes([0x89], 'PNG\r\n', [0x1a], '\n', [0, 1, 2, 255]),
  'image/jpeg': bytes([0xff, 0xd8, 0xff, 0xe0], 'JFIF'),
  'image/gif': bytes('GIF89a;'),
  'image/webp': bytes('RIFF', [4, 0, 0, 0], 'WEBPVP8 '),
}

/** A multipart body as a browser writes it. */
async function form(
  files: Record<string, string | Uint8Array<ArrayBuffer> | null>,
  name = 'a.svg',
  type = 'image/svg+xml',
) {
  const data = new FormData()
  for (const [field, content] of Object.entries(files))
    if (content === null) data.append(field, 'text')
    else data.append(field, new Blob([content], { type }), name)
  const request = new Request('http://x', { method: 'POST', body: data })
  const raw = await request.arrayBuffer()
  return {
    raw,
    headers: {
      'Content-Type': request.headers.get('Content-Type') ?? '',
      'Content-Length': String(raw.byteLength),
    },
  }
}

const make = async () =>
  (await callJson<Agent>('POST', '/api/v1/agents', { token: world.developer.token, body: { name: 'A' } }))
    .data
const upload = (id: string, init: { raw?: BodyInit; headers?: Record<string, string> }) =>
  callJson<Agent>('POST', `/api/v1/agents/${id}/avatar`, { token: world.developer.token, ...init })
const read = (path: string, headers: Record<string, string> = {}) =>
  call('GET', path, { token: world.viewer.token, headers })
const kept = async (id: string) =>
  (await env.FILES.list({ prefix: `${world.tenant.id}/agents/${id}/` })).objects.map(({ key }) => key)

describe('an agent’s picture', () => {
  it('is kept as what its bytes are, and read at a URL of its own', async () => {
    for (const [type, content] of Object.entries(PICTURES)) {
      const { id } = await make()
      const set = await upload(id, await form({ file: content }))
      expect(set.status, type).toBe(200)
      expect(set.data.avatar).toMatch(new RegExp(`^/api/v1/agents/${id}/avatar\\?v=[0-9a-f-]{36}$`))
      const answer = await read(set.data.avatar ?? '')
      expect(answer.status).toBe(200)
      expect(new Uint8Array(await answer.arrayBuffer())).toEqual(content)
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        'content-type': type,
        'content-length': String(content.byteLength),
        'cache-control': 'private, max-age=31536000, immutable',
        'x-content-type-options': 'nosniff',
        'content-security-policy': "default-src 'none'; sandbox",
      })
    }
  })

  it('is asked about again at the URL without its name, and not sent twice', async () => {
    const { id } = await make()
    const { avatar } = (await upload(id, await form({ file: PICTURES['image/gif'] }))).data
    const plain = await read(`/api/v1/agents/${id}/avatar`)
    expect(plain.headers.get('Cache-Control')).toBe('private, no-cache')
    const tag = plain.headers.get('ETag') ?? ''
    await plain.body?.cancel()
    const again = await read(avatar ?? '', { 'If-None-Match': tag })
    expect(again.status).toBe(304)
    expect(again.headers.get('ETag')).toBe(tag)
  })

  it('can be read by the cookie of a browser', async () => {
    const { id } = await make()
    const { avatar } = (await upload(id, await form({ file: PICTURES['image/gif'] }))).data
    const answer = await call('GET', avatar ?? '', {
      headers: { Cookie: `access_token=${world.viewer.token}` },
    })
    expect(answer.status).toBe(200)
    await answer.body?.cancel()
    expect((await call('GET', avatar ?? '')).status).toBe(401)
  })

  it('is replaced, taken away and deleted with its object', async () => {
    const { id } = await make()
    const first = (await upload(id, await form({ file: PICTURES['image/gif'] }))).data
    const second = (await upload(id, await form({ file: PICTURES['image/png'] }))).data
    expect(second.avatar).not.toBe(first.avatar)
    await expect.poll(() => kept(id)).toHaveLength(1)
    expect((await read(first.avatar ?? '')).headers.get('Content-Type')).toBe('image/png')
    const path = `/api/v1/agents/${id}`
    const none = await callJson<Agent>('PATCH', path, {
      token: world.developer.token,
      body: { avatar: null },
    })
    expect(none.data.avatar).toBeNull()
    expect((await read(second.avatar ?? '')).status).toBe(404)
    await expect.poll(() => kept(id)).toEqual([])
    await upload(id, await form({ file: PICTURES['image/png'] }))
    expect(await kept(id)).toHaveLength(1)
    expect((await call('DELETE', path, { token: world.developer.token })).status).toBe(204)
    await expect.poll(() => kept(id)).toEqual([])
    const sent = await callJson('PATCH', path, { token: world.developer.token, body: { avatar: '/x' } })
    expect(sent.error.details.fields).toHaveProperty('avatar')
  })

  it('is uploaded once under one key', async () => {
    const { id } = await make()
    const picture = await form({ file: PICTURES['image/png'] })
    const headers = { ...picture.headers, 'X-Idempotency-Key': crypto.randomUUID() }
    const first = await upload(id, { raw: picture.raw, headers })
    const again = await upload(id, { raw: picture.raw, headers })
    expect(first.status).toBe(200)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect(again.data).toEqual(first.data)
    expect(new Uint8Array(await (await read(first.data.avatar ?? '')).arrayBuffer())).toEqual(
      PICTURES['image/png'],
    )
  })
})

describe('an upload that is refused', () => {
  const MiB = 1024 * 1024
  const big = (size: number) => {
    const content = new Uint8Array(size)
    content.set(PICTURES['image/png'])
    return content
  }

  it('says why, and keeps nothing', async () => {
    const { id } = await make()
    const good = await form({ file: PICTURES['image/png'] })
    const unmeasured = {
      raw: new Blob([good.raw]).stream().pipeThrough(new TransformStream()),
      headers: { 'Content-Type': good.headers['Content-Type'] },
    }
    const cases: [number, string, { raw?: BodyInit; headers?: Record<string, string> }][] = [
      [
        415,
        'unsupported_media_type',
        { raw: '{}', headers: { 'Content-Type': 'application/json', 'Content-Length': '2' } },
      ],
      [
        415,
        'unsupported_media_type',
        { raw: PICTURES['image/png'], headers: { 'Content-Type': 'image/png' } },
      ],
      [411, 'length_required', unmeasured],
      [400, 'malformed_body', { raw: 'no parts', headers: { ...good.headers, 'Content-Length': '8' } }],
      [413, 'body_too_large', await form({ file: big(2 * MiB + 1) })],
      [413, 'body_too_large', await form({ file: big(3 * MiB) })],
      [422, 'validation_failed', await form({})],
      [422, 'validation_failed', await form({ file: null })],
      [422, 'validation_failed', await form({ file: '' })],
      [422, 'validation_failed', await form({ picture: PICTURES['image/png'] })],
      [
        422,
        'validation_failed',
        await form({ file: '<svg xmlns="http://www.w3.org/2000/svg"/>' }, 'a.png', 'image/png'),
      ],
      [422, 'validation_failed', await form({ file: '<html>' }, 'a.png', 'image/png')],
    ]
    for (const [status, code, init] of cases)
      expect(await upload(id, init), code).toMatchObject({ status, error: { code } })
    expect(await kept(id)).toEqual([])
    expect((await upload(id, await form({ file: big(2 * MiB) }))).status).toBe(200)
  })

  it('leaves nothing behind where the agent has changed meanwhile', async () => {
    const { id } = await make()
    const picture = await form({ file: PICTURES['image/png'] })
    const stale = await upload(id, { raw: picture.raw, headers: { ...picture.headers, 'If-Match': '"v7"' } })
    expect(stale).toMatchObject({ status: 412, error: { code: 'precondition_failed' } })
    await expect.poll(() => kept(id)).toEqual([])
  })
})

describe('pictureType', () => {
  it('goes by the whole signature', () => {
    for (const [type, content] of Object.entries(PICTURES)) {
      expect(pictureType(content)).toBe(type)
      expect(pictureType(content.subarray(0, 2))).toBeNull()
    }
    expect(pictureType(bytes('RIFF', [0, 0, 0, 0], 'WAVE'))).toBeNull()
    expect(pictureType(bytes('GIF88a'))).toBeNull()
  })
})
