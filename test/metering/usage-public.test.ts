import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { makeRunToken } from '../../src/domains/chat/runs/token'
import { type Bindings, settingsOf } from '../../src/env'
import { chatWith, EventReader, sleep } from '../chat/kit'
import { pathOf, presign, put, upload } from '../files/kit'
import { makeSource, ofGithub, ofTelnyx, post, remember } from '../webhooks/incoming/kit'
import { call, callJson, makeWorld, type World } from '../world'

// What is a tenant's request though no user and no key made it: the signature, the link or the token says whose it is.

type Row = {
  endpoint: string
  method: string
  principal: string
  api_key_id: string | null
  requests: number
  errors: number
  request_size_bytes: number
  response_size_bytes: number
}

const rowsBy = async (world: World, group: string) =>
  (await callJson<Row[]>('GET', `/api/v1/usage?group_by=${group}`, { token: world.viewer.token })).data

/** What one route came to: requests, failed ones, bytes taken and given. */
async function usedOf(world: World, method: string, endpoint: string) {
  const row = (await rowsBy(world, 'endpoint')).find(
    (one) => one.endpoint === endpoint && one.method === method,
  )
  return row && [row.requests, row.errors, row.request_size_bytes, row.response_size_bytes]
}

const read = async (answer: Response) => (await answer.arrayBuffer()).byteLength

describe('requests without a credential, in usage', { timeout: 30_000 }, () => {
  it('are those by signed URLs, with the bytes of the files', async () => {
    const world = await makeWorld()
    const file = await upload(world.admin, 'hello')
    const { data } = await callJson<{ url: string }>('POST', `/api/v1/files/${file.id}/url`, {
      token: world.admin.token,
    })
    const path = pathOf(data.url)
    expect(await read(await call('GET', path))).toBe(5)
    expect(await read(await call('GET', path, { headers: { Range: 'bytes=1-2' } }))).toBe(2)
    const large = await upload(world.admin, 'x'.repeat(2 * 1024 * 1024))
    expect(large.status).toBe('ready')
    const altered = await call('GET', path.replace(/expires=\d/, 'expires=9'))
    expect(altered.status).toBe(401)
    expect(await usedOf(world, 'GET', '/api/v1/files/signed/:file_id')).toEqual([2, 0, 0, 7])
    expect(await usedOf(world, 'PUT', '/api/v1/files/signed/:file_id')).toEqual([
      2,
      0,
      5 + 2 * 1024 * 1024,
      0,
    ])
    const callers = await rowsBy(world, 'api_key')
    expect(callers.find(({ principal }) => principal === 'public')).toMatchObject({
      api_key_id: null,
      requests: 4,
    })
  })

  it('are those by a signed URL, or a run’s token, that were too many, too', async () => {
    const world = await makeWorld()
    const file = await upload(world.admin, 'hello')
    const { data } = await callJson<{ url: string }>('POST', `/api/v1/files/${file.id}/url`, {
      token: world.admin.token,
    })
    const run_id = crypto.randomUUID()
    const settings = settingsOf(env as unknown as Bindings)
    const ids = { tenant_id: world.tenant.id, chat_id: crypto.randomUUID(), run_id }
    const token = await makeRunToken(settings, ids)
    const event = { sequence: 1, events: [{ type: 'done', data: {} }] }
    const ask = {
      file: () => call('GET', pathOf(data.url)),
      run: () =>
        call('POST', `/api/v1/runs/${run_id}/events`, {
          headers: { 'X-Causeway-Run-Token': token },
          body: event,
        }),
    }
    const statuses = async (one: () => Promise<Response>) => {
      const seen = []
      for (let i = 0; i < 103; i += 1)
        seen.push(await one().then((answer) => read(answer).then(() => answer.status)))
      return seen.slice(-2)
    }
    expect(await statuses(ask.file)).toEqual([429, 429])
    expect(await statuses(ask.run)).toEqual([429, 429])
    expect((await usedOf(world, 'GET', '/api/v1/files/signed/:file_id'))?.[0]).toBe(103)
    expect((await usedOf(world, 'POST', '/api/v1/runs/:id/events'))?.[0]).toBe(103)
  })

  it('have the bytes of an upload that was read and refused', async () => {
    const world = await makeWorld()
    const size = 2 * 1024 * 1024
    const { data } = await presign(world.admin, { size })
    const key = { 'Idempotency-Key': crypto.randomUUID() }
    const send = async (letter: string) => {
      const answer = await put(data.url, letter.repeat(size), { ...data.headers, ...key })
      return [answer.status, await read(answer)] as const
    }
    const [first, again] = [await send('a'), await send('b')]
    expect([first[0], again[0]]).toEqual([200, 422])
    const used = await usedOf(world, 'PUT', '/api/v1/files/signed/:file_id')
    expect(used).toEqual([2, 1, 2 * size, again[1]])
  })

  it('are not those of a file, or a tenant, that is gone', async () => {
    const world = await makeWorld()
    const { data } = await presign(world.admin, {})
    await call('DELETE', `/api/v1/files/${data.file_id}`, { token: world.admin.token })
    expect((await put(data.url, 'hello', data.headers)).status).toBe(404)
    expect(await usedOf(world, 'PUT', '/api/v1/files/signed/:file_id')).toBeUndefined()
  })

  it('are those of webhook sources that did sign, refused or not', async () => {
    const world = await makeWorld()
    const source = await makeSource(world, { kind: 'github', per_minute: 1 })
    const sent = ofGithub('{"a":1}')
    const given = await read(await post(`in/${source}`, sent))
    const many = await post(`in/${source}`, ofGithub('{"a":1}'))
    expect(many.status).toBe(429)
    const refused = await read(many)
    expect((await post(`in/${source}`, { ...sent, body: '{"a":2}' })).status).toBe(401)
    const used = await usedOf(world, 'POST', '/api/v1/webhooks/in/:source_id')
    expect(used).toEqual([2, 1, 14, given + refused])
  })

  it('are those of the operator’s providers for a tenant, by a key that was there before too', async () => {
    const world = await makeWorld()
    const connection_id = crypto.randomUUID()
    await remember(world, 'telnyx', connection_id)
    const sent = ofTelnyx({
      data: { id: crypto.randomUUID(), event_type: 'call.initiated', payload: { connection_id } },
    })
    sent.headers['Idempotency-Key'] = crypto.randomUUID()
    let given = 0
    for (const replayed of [null, 'true']) {
      const answer = await post('telnyx', sent)
      expect([answer.status, answer.headers.get('Idempotency-Replayed')]).toEqual([200, replayed])
      given += await read(answer)
    }
    const taken = 2 * String(sent.body).length
    expect(await usedOf(world, 'POST', '/api/v1/webhooks/telnyx')).toEqual([2, 0, taken, given])
  })

  it('are those of an agent that posts what it says', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const run_id = crypto.randomUUID()
    const named = { tenant_id: chat.world.tenant.id, chat_id: chat.id, run_id }
    const token = await makeRunToken(settingsOf(env as unknown as Bindings), named)
    const path = `/api/v1/runs/${run_id}/events`
    const body = { sequence: 1, events: [{ type: 'message', data: { content: 'Hi' } }] }
    expect((await call('POST', path, { token, body })).status).toBe(404)
    expect((await call('POST', path, { token: 'crt_made-up', body })).status).toBe(401)
    expect((await usedOf(chat.world, 'POST', '/api/v1/runs/:id/events'))?.slice(0, 2)).toEqual([1, 1])
  })

  it('are those by a public link, with what its streams carry', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    await chat.exchange('one')
    const { data } = await callJson<{ token: string }>('PUT', `${chat.path}/shares`, {
      token: chat.person.token,
      body: { scope: 'public' },
    })
    const link = `/api/v1/shared/${data.token}`
    const given = await read(await call('GET', link))
    expect((await call('GET', `/api/v1/shared/${'A'.repeat(43)}`)).status).toBe(404)
    const reader = new EventReader((await call('GET', `${link}/stream`)).body)
    await reader.until('snapshot')
    await sleep(50)
    const bytes = reader.chunks.reduce((sum, one) => sum + one.bytes, 0)
    expect(await usedOf(chat.world, 'GET', '/api/v1/shared/:token')).toEqual([1, 0, 0, given])
    expect(await usedOf(chat.world, 'GET', '/api/v1/shared/:token/stream')).toEqual([1, 0, 0, bytes])
    expect(await usedOf(chat.world, 'GET', '/api/v1/chats/:id/stream')).toBeUndefined()
    await reader.leave()
    const callers = await rowsBy(chat.world, 'api_key')
    expect(callers.map(({ principal }) => principal).sort()).toEqual(['public', 'user'])
  })

  it('are those by a right password or a refresh token, as the user’s own', async () => {
    const slug = `u-${crypto.randomUUID().slice(0, 8)}`
    const login = { email: `ada@${slug}.example`, password: 'a long and unusual phrase' }
    await callJson('POST', '/api/v1/tenants/onboarding/public', { body: { name: 'Used', slug, ...login } })
    type Tokens = { access_token: string; refresh_token: string }
    const { data } = await callJson<Tokens>('POST', '/api/v1/auth/login', { body: login })
    const wrong = { body: { ...login, password: 'another long and unusual one' } }
    expect((await callJson('POST', '/api/v1/auth/login', wrong)).status).toBe(401)
    const refreshed = await callJson<Tokens>('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: data.refresh_token },
    })
    const { data: rows } = await callJson<Row[]>('GET', '/api/v1/usage?group_by=endpoint', {
      token: refreshed.data.access_token,
    })
    expect(rows.map((row) => [row.method, row.endpoint, row.requests, row.errors])).toEqual([
      ['POST', '/api/v1/auth/login', 1, 0],
      ['POST', '/api/v1/auth/refresh', 1, 0],
    ])
  })
})
