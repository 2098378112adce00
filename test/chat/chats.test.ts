import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { call, callJson, makeWorld, type World } from '../world'
import { chatWith, eventually, openChat, sleep } from './kit'

type Chat = Record<string, unknown> & { id: string; messages?: { content: string }[] }

const echo = { name: 'Echo', kind: 'echo' }

async function echoAgent(world: World, more: Record<string, unknown> = {}): Promise<string> {
  const { data } = await callJson<{ id: string }>('POST', '/api/v1/agents', {
    token: world.admin.token,
    body: { ...echo, ...more },
  })
  return data.id
}

const list = (token: string, query = '') => callJson<Chat[]>('GET', `/api/v1/chats${query}`, { token })
const titles = async (token: string, query = '') => (await list(token, query)).data.map(({ title }) => title)
const row = (id: string) =>
  env.DB.prepare('select * from chats where id = ?').bind(id).first<Record<string, unknown>>()

describe('opening a chat', () => {
  it('answers the chat, and tells it by an event', async () => {
    const world = await makeWorld()
    const agent_id = await echoAgent(world)
    const body = {
      agent_id,
      title: ' Support Request ',
      metadata: { order: 'A-17' },
      tags: ['support', 'support'],
    }
    const { status, data, headers } = await callJson<Chat>('POST', '/api/v1/chats', {
      token: world.member.token,
      body,
    })
    expect(status).toBe(201)
    expect(headers.get('Location')).toBe(`/api/v1/chats/${data.id}`)
    expect(data).toEqual({
      id: expect.any(String),
      tenant_id: world.tenant.id,
      user_id: world.member.user.id,
      agent_id,
      title: 'Support Request',
      is_archived: false,
      is_pinned: false,
      tags: ['support'],
      metadata: { order: 'A-17' },
      forked_from: null,
      ratings_up: 0,
      ratings_down: 0,
      message_count: 0,
      last_message_at: null,
      created_at: expect.any(String),
      updated_at: expect.any(String),
    })
    const event = await env.DB.prepare(`select * from events where tenant_id = ? and type = 'chat.created'`)
      .bind(world.tenant.id)
      .first<{ data: string; subject: string }>()
    expect(event?.subject).toBe(world.member.user.id)
    expect(JSON.parse(event?.data ?? '')).toEqual({
      chat_id: data.id,
      agent_id,
      user_id: world.member.user.id,
      title: 'Support Request',
      created_at: data.created_at,
    })
  })

  it('by a key makes a chat of its maker', async () => {
    const world = await makeWorld()
    const body = { agent_id: await echoAgent(world) }
    const { data } = await callJson<Chat>('POST', '/api/v1/chats', { key: world.apiKey, body })
    expect(data.user_id).toBe(world.admin.user.id)
    expect((await row(data.id))?.api_key_id).toEqual(expect.any(String))
  })

  it('is done once with one idempotency key', async () => {
    const world = await makeWorld()
    const body = { agent_id: await echoAgent(world) }
    const ask = () =>
      callJson<Chat>('POST', '/api/v1/chats', {
        token: world.member.token,
        body,
        headers: { 'Idempotency-Key': 'once' },
      })
    const [first, second] = [await ask(), await ask()]
    expect(second.headers.get('Idempotency-Replayed')).toBe('true')
    expect(second.data.id).toBe(first.data.id)
    expect((await list(world.member.token)).data).toHaveLength(1)
  })

  it.each([
    [{}, 'agent_id'],
    [{ agent_id: 'x' }, 'agent_id'],
    [{ agent_id: crypto.randomUUID() }, 'agent_id'],
    [{ title: '' }, 'title'],
    [{ title: 'x'.repeat(201) }, 'title'],
    [{ tags: ['x'.repeat(51)] }, 'tags.0'],
    [{ tags: Array.from({ length: 21 }, (_, i) => `${i}`) }, 'tags'],
    [{ metadata: [] }, 'metadata'],
    [{ metadata: { x: 'x'.repeat(17_000) } }, 'metadata'],
    [{ user_id: crypto.randomUUID() }, 'user_id'],
    [{ tenant_id: crypto.randomUUID() }, 'tenant_id'],
  ])('is refused where a field is wrong (%#)', async (wrong, field) => {
    const world = await makeWorld()
    const body = { ...(field === 'agent_id' ? {} : { agent_id: await echoAgent(world) }), ...wrong }
    const { status, error } = await callJson('POST', '/api/v1/chats', { token: world.member.token, body })
    expect(status).toBe(422)
    expect(Object.keys(error.details.fields ?? {})).toEqual([field])
    expect((await list(world.member.token)).data).toEqual([])
  })

  it('is refused with an agent of another tenant, with an inactive one, and without the scope', async () => {
    const world = await makeWorld()
    const foreign = await echoAgent(await makeWorld())
    const inactive = await echoAgent(world, { is_active: false })
    const status = async (token: string, agent_id: string) =>
      (await callJson('POST', '/api/v1/chats', { token, body: { agent_id } })).status
    expect(await status(world.member.token, foreign)).toBe(422)
    expect(await status(world.member.token, inactive)).toBe(409)
    expect(await status(world.viewer.token, await echoAgent(world))).toBe(403)
  })
})

describe('the list', () => {
  it('holds the caller’s chats, the last spoken in first, page by page', async () => {
    const world = await makeWorld()
    const agent = await echoAgent(world)
    const chats = []
    for (const title of ['a', 'b', 'c', 'd', 'e'])
      chats.push(await openChat(world, world.member, agent, { title }))
    await openChat(world, world.developer, agent, { title: 'another’s' })
    expect(await titles(world.member.token)).toEqual(['e', 'd', 'c', 'b', 'a'])
    await sleep(2)
    await chats[1]?.exchange('spoken')
    await eventually(async () => (await titles(world.member.token))[0] === 'b')
    const seen: unknown[] = []
    for (let cursor: unknown = ''; cursor !== null; ) {
      const page = await list(world.member.token, `?limit=2${cursor ? `&cursor=${cursor}` : ''}`)
      seen.push(...page.data.map(({ title }) => title))
      cursor = page.meta.next_cursor
    }
    expect(seen).toEqual(['b', 'e', 'd', 'c', 'a'])
  })

  it('is narrowed by archive, tag, agent and words of the title', async () => {
    const world = await makeWorld()
    const [agent, other] = [await echoAgent(world), await echoAgent(world)]
    await openChat(world, world.member, agent, { title: 'Where is my order', tags: ['support', 'vip'] })
    await openChat(world, world.member, other, { title: 'Order of the day: 50%_off', tags: ['sales'] })
    const third = await openChat(world, world.member, agent, { title: 'Old things' })
    await callJson('PATCH', third.path, { token: world.member.token, body: { is_archived: true } })
    const { token } = world.member
    expect(await titles(token)).toHaveLength(2)
    expect(await titles(token, '?include_archived=true')).toHaveLength(3)
    expect(await titles(token, '?include_archived=false')).toHaveLength(2)
    expect(await titles(token, '?tag=vip')).toEqual(['Where is my order'])
    expect(await titles(token, '?tag=vi')).toEqual([])
    expect(await titles(token, `?agent_id=${other}`)).toEqual(['Order of the day: 50%_off'])
    expect(await titles(token, '?q=order')).toHaveLength(2)
    expect(await titles(token, '?q=ORDER%20my')).toEqual(['Where is my order'])
    expect(await titles(token, '?q=50%25_')).toEqual(['Order of the day: 50%_off'])
    expect((await list(token, '?q=%25')).status).toBe(422)
    expect(await titles(token, `?q=${encodeURIComponent(`'") or 1=1 --`)}`)).toEqual([])
  })

  it('holds each chat’s last exchange where that is asked for', async () => {
    const world = await makeWorld()
    const agent = await echoAgent(world)
    const spoken = await openChat(world, world.member, agent, { title: 'spoken' })
    await openChat(world, world.member, agent, { title: 'silent' })
    await spoken.exchange('one')
    await spoken.exchange('two')
    await eventually(async () => (await row(spoken.id))?.message_count === 4)
    const { data } = await list(world.member.token, '?include=last_exchange')
    expect(data.map(({ messages }) => messages?.map(({ content }) => content))).toEqual([['two', 'two'], []])
    expect((await list(world.member.token)).data[0]).not.toHaveProperty('messages')
  })

  it('of another user is for an admin', async () => {
    const world = await makeWorld()
    await openChat(world, world.member, await echoAgent(world), { title: 'theirs' })
    const query = `?user_id=${world.member.user.id}`
    expect(await titles(world.admin.token, query)).toEqual(['theirs'])
    expect(await titles(world.admin.token)).toEqual([])
    expect((await list(world.developer.token, query)).status).toBe(403)
    expect(await titles((await makeWorld()).admin.token, query)).toEqual([])
  })

  it.each([
    '?cursor=nonsense',
    '?limit=0',
    '?limit=101',
    '?agent_id=x',
    '?include_archived=1',
    '?include=x',
    '?x=1',
  ])('refuses %s', async (query) =>
    expect((await list((await makeWorld()).member.token, query)).status).toBe(422),
  )

  it('refuses the cursor of another list', async () => {
    const world = await makeWorld()
    const agent = await echoAgent(world)
    for (let i = 0; i < 3; i += 1) await openChat(world, world.member, agent)
    const { meta } = await list(world.member.token, '?limit=1')
    expect((await list(world.member.token, `?limit=1&cursor=${meta.next_cursor}`)).status).toBe(200)
    expect((await list(world.member.token, `?q=x&cursor=${meta.next_cursor}`)).status).toBe(422)
    expect((await list(world.admin.token, `?cursor=${meta.next_cursor}`)).status).toBe(422)
  })
})

describe('one chat', () => {
  it('has a version of row and log: 304 while nothing changed', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const get = (headers = {}) => call('GET', chat.path, { token: chat.person.token, headers })
    const etag = (await get()).headers.get('ETag') ?? ''
    expect(etag).toBe('"v1.0"')
    expect((await get({ 'If-None-Match': etag })).status).toBe(304)
    await chat.exchange('Hello')
    const spoken = await get({ 'If-None-Match': etag })
    expect(spoken.status).toBe(200)
    expect(spoken.headers.get('ETag')).toMatch(/^"v1\.\d+"$/)
    await callJson('PATCH', chat.path, { token: chat.person.token, body: { is_pinned: true } })
    expect((await get()).headers.get('ETag')).toMatch(/^"v2\.\d+"$/)
  })

  it('is there for its user and admins only', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    await chat.exchange('Hello')
    for (const [token, status] of [
      [world.member.token, 200],
      [world.admin.token, 200],
      [world.developer.token, 404],
      [world.viewer.token, 404],
      [(await makeWorld()).admin.token, 404],
    ] as const)
      expect((await chat.read(token)).status).toBe(status)
    expect((await callJson('GET', '/api/v1/chats/x', { token: world.member.token })).status).toBe(422)
  })
})

describe('changing a chat', () => {
  it.each(['PATCH', 'PUT'])('merges what is sent (%s)', async (method) => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo, { title: 'Old', tags: ['a'], metadata: { x: 1 } })
    const first = await callJson<Chat>(method, chat.path, {
      token: world.member.token,
      body: { title: 'Updated Support Request', is_archived: false },
    })
    expect(first.status).toBe(200)
    expect(first.data).toMatchObject({ title: 'Updated Support Request', tags: ['a'], metadata: { x: 1 } })
    const second = await callJson<Chat>(method, chat.path, {
      token: world.member.token,
      body: { is_archived: true, is_pinned: true, tags: [], metadata: { y: 2 } },
    })
    expect(second.data).toMatchObject({
      title: 'Updated Support Request',
      is_archived: true,
      is_pinned: true,
      tags: [],
      metadata: { y: 2 },
    })
  })

  it('tells readers of a new title, which a made one does not replace', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const reader = await chat.follow()
    await reader.next()
    await callJson('PATCH', chat.path, { token: chat.person.token, body: { title: 'Given' } })
    expect(await reader.next()).toMatchObject({ id: 'e1-1', type: 'title', data: { title: 'Given' } })
    await chat.exchange('Hello')
    await reader.until('done')
    expect(reader.seen.filter(({ type }) => type === 'title')).toHaveLength(1)
    await eventually(async () => (await row(chat.id))?.message_count === 2)
    expect((await chat.read()).data.title).toBe('Given')
  })

  it('takes If-Match, with the version of the row or of row and log', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('Hello')
    const patch = (title: string, tag: string) =>
      callJson('PATCH', chat.path, {
        token: chat.person.token,
        body: { title },
        headers: { 'If-Match': tag },
      })
    const etag = (await call('GET', chat.path, { token: chat.person.token })).headers.get('ETag') ?? ''
    expect((await patch('one', etag)).status).toBe(200)
    expect((await patch('two', etag)).status).toBe(412)
    expect((await patch('two', '"v2"')).status).toBe(200)
    expect((await patch('three', '"nonsense"')).status).toBe(412)
    expect((await chat.read()).data.title).toBe('two')
  })

  it.each([
    [{ title: null }, 'title'],
    [{ is_archived: 'yes' }, 'is_archived'],
    [{ agent_id: crypto.randomUUID() }, 'agent_id'],
    [{ messages: [] }, 'messages'],
  ])('is refused where a field is wrong (%#)', async (body, field) => {
    const chat = await chatWith(await makeWorld(), echo)
    const { status, error } = await callJson('PATCH', chat.path, { token: chat.person.token, body })
    expect(status).toBe(422)
    expect(Object.keys(error.details.fields ?? {})).toEqual([field])
  })

  it('of another’s is for an admin, and audited', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const patch = (token: string, title = 'Mine now') =>
      callJson('PATCH', chat.path, { token, body: { title } })
    const audited = async () =>
      (
        await env.DB.prepare(`select action from audit_log where tenant_id = ? and resource = 'chat'`)
          .bind(world.tenant.id)
          .all()
      ).results
    expect((await patch(world.developer.token)).status).toBe(404)
    expect((await patch(world.viewer.token)).status).toBe(403)
    expect((await patch((await makeWorld()).admin.token)).status).toBe(404)
    expect((await patch(world.member.token)).status).toBe(200)
    expect(await audited()).toEqual([])
    // What changes nothing is on no record.
    expect((await patch(world.admin.token)).status).toBe(200)
    expect(await audited()).toEqual([])
    expect((await patch(world.admin.token, 'The admin’s')).status).toBe(200)
    expect(await audited()).toEqual([{ action: 'chat.update' }])
  })
})
