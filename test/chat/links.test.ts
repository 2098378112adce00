import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { resealAll } from '../../src/data/sealed'
import type { Bindings } from '../../src/env'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, type Person, type World } from '../world'
import { chatAt, chatWith, EventReader, eventually, Gate, gatedChat, type TestChat } from './kit'

type Share = {
  scope: string | null
  role: string
  token: string | null
  url: string | null
  expires_at: string | null
}
type View = {
  title: string | null
  messages: Record<string, unknown>[]
  messages_complete: boolean
  expires_at: string | null
}

let world: World
beforeAll(async () => {
  world = await makeWorld({ plan: 'enterprise' })
})

const shares = (chat: TestChat) => `${chat.path}/shares`

/** Makes, or changes, the public link of a chat. */
const share = (chat: TestChat, more: object = {}, person: Person = chat.person) =>
  callJson<Share>('PUT', shares(chat), { token: person.token, body: { scope: 'public', ...more } })

const linkOf = async (chat: TestChat, more: object = {}): Promise<string> => {
  const { status, data, error } = await share(chat, more)
  if (status !== 200) throw new Error(JSON.stringify(error))
  return `/api/v1/shared/${data.token}`
}

const unshare = (chat: TestChat) => call('DELETE', `${shares(chat)}?scope=public`, chat.person)
const view = (link: string) => callJson<View>('GET', link)

async function follow(link: string, headers: Record<string, string> = {}): Promise<EventReader> {
  const answer = await call('GET', `${link}/stream`, { headers })
  if (answer.status !== 200) throw new Error(`${answer.status}: ${await answer.text()}`)
  return new EventReader(answer.body)
}

describe('a public link', () => {
  it('reads the chat without a credential, and says nothing of who is in it', async () => {
    const chat = await chatWith(world, { name: 'Secret agent', kind: 'echo' }, { title: 'Parcels' })
    await chat.exchange('Where is my parcel?', { client_message_id: 'mine-1' })
    const { data: read } = await chat.read()
    const answered = read.messages.at(-1)?.id
    await callJson('POST', `${chat.path}/feedback`, {
      ...chat.person,
      body: { message_id: answered, rating: 'down', comment: 'A private word' },
    })
    const link = await linkOf(chat)
    const answer = await call('GET', link)
    const text = await answer.clone().text()
    const { data } = (await answer.json()) as { data: View }
    expect(answer.status).toBe(200)
    expect(data).toMatchObject({ title: 'Parcels', messages_complete: true, expires_at: null })
    expect(data.messages.map(({ role, content }) => [role, content])).toEqual([
      ['user', 'Where is my parcel?'],
      ['assistant', read.messages.at(-1)?.content],
    ])
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      'x-robots-tag': 'noindex, nofollow',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
    const reader = await follow(link)
    const first = await reader.next()
    expect(first).toMatchObject({ type: 'snapshot', data: { title: 'Parcels' } })
    await reader.leave()
    const { tenant, member } = world
    for (const shown of [text, JSON.stringify(first)])
      for (const secret of [
        ...[tenant.id, tenant.name, member.user.id, member.user.email, chat.agentId, 'Secret agent'],
        ...['mine-1', 'A private word', 'down', 'metadata', 'feedback'],
      ])
        expect([secret, shown.includes(secret)]).toEqual([secret, false])
  })

  it('is shown again to the owner alone, and stays the same when it is changed', async () => {
    const chat = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const first = await share(chat)
    expect(first.data).toMatchObject({ scope: 'public', role: 'viewer', expires_at: null })
    expect(first.data.token).toMatch(/^[\w-]{43}$/)
    expect(first.data.url).toBe(`http://localhost:8787/api/v1/shared/${first.data.token}`)
    const expires_at = new Date(Date.now() + 3600_000).toISOString()
    const changed = await share(chat, { expires_at })
    expect([changed.data.token, changed.data.expires_at]).toEqual([first.data.token, expires_at])
    await callJson('PUT', shares(chat), {
      ...chat.person,
      body: { user_id: world.developer.user.id, role: 'editor' },
    })
    const list = async (person: Person) =>
      (await callJson<Share[]>('GET', shares(chat), person)).data.find(({ scope }) => scope === 'public')
    expect((await list(chat.person))?.token).toBe(first.data.token)
    expect((await list(world.admin))?.url).toBe(first.data.url)
    expect(await list(world.developer)).toMatchObject({ scope: 'public', token: null, url: null })
    await expectError(
      call('PUT', shares(chat), { ...world.developer, body: { scope: 'public' } }),
      'chat_role_required',
    )
    const editor = await share(chat, { role: 'editor' })
    expect(editor.error.details.fields).toEqual({ role: 'must be viewer: a public link is for reading' })
  })

  it('is one for all who ask at once, and does not come back after it was revoked', async () => {
    const chat = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const made = await Promise.all(Array.from({ length: 4 }, () => share(chat)))
    expect(made.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(new Set(made.map(({ data }) => data.token)).size).toBe(1)
    const url = made[0]?.data.url?.replace('http://localhost:8787', '') ?? ''
    expect((await call('GET', url)).status).toBe(200)
    for (let turn = 0; turn < 5; turn++) {
      const old = (await share(chat)).data.token
      const [again] = await Promise.all([share(chat), unshare(chat)])
      const now = (await callJson<Share[]>('GET', shares(chat), chat.person)).data
      const link = now.find(({ scope }) => scope === 'public')
      // Whichever came first: a link that stands was made after the end of the other, and who made it has it.
      if (link) expect([link.token === old, link.token]).toEqual([false, again.data.token])
      await expectError(call('GET', `/api/v1/shared/${old}`), 'not_found')
    }
  })

  it('is kept sealed and hashed, under another master key too, and its audit row says nothing of it', async () => {
    const chat = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const { data } = await share(chat)
    const row = () =>
      env.DB.prepare(`select token, token_hash from chat_shares where chat_id = ? and subject = 'public'`)
        .bind(chat.id)
        .first<{ token: string; token_hash: string }>()
    const before = await row()
    expect(JSON.stringify(before)).not.toContain(data.token)
    expect(before?.token).toMatch(/^v2\./)
    const { settings } = world.ctx
    const keys = {
      MASTER_KEY: 'another_master_key_of_32_characters',
      MASTER_KEY_PREVIOUS: [settings.MASTER_KEY],
    }
    await resealAll(env as unknown as Bindings, keys)
    expect((await row())?.token).not.toBe(before?.token)
    await resealAll(env as unknown as Bindings, {
      MASTER_KEY: settings.MASTER_KEY,
      MASTER_KEY_PREVIOUS: [keys.MASTER_KEY],
    })
    const listed = await callJson<Share[]>('GET', shares(chat), chat.person)
    expect(listed.data[0]?.token).toBe(data.token)
    const audited = await env.DB.prepare('select * from audit_log where tenant_id = ? and resource_id = ?')
      .bind(world.tenant.id, chat.id)
      .all()
    expect(audited.results.length).toBeGreaterThan(0)
    expect(JSON.stringify(audited.results)).not.toContain(data.token)
  })

  it('that is wrong, has ended or was revoked is not there, in the same words', async () => {
    const chat = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const link = await linkOf(chat, { expires_at: new Date(Date.now() + 3600_000).toISOString() })
    expect((await view(link)).status).toBe(200)
    // As an hour later.
    await env.DB.prepare('update chat_shares set expires_at = ? where tenant_id = ? and chat_id = ?')
      .bind(new Date(Date.now() - 1).toISOString(), world.tenant.id, chat.id)
      .run()
    const revoked = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const gone = await linkOf(revoked)
    expect((await unshare(revoked)).status).toBe(204)
    const messages = new Set<string>()
    for (const path of [link, gone, `/api/v1/shared/${'A'.repeat(43)}`])
      for (const part of ['', '/stream', `/attachments/${crypto.randomUUID()}`])
        messages.add((await expectError(call('GET', path + part), 'not_found')).message)
    expect([...messages]).toEqual(['There is no such shared chat, or not any more'])
    await expectError(call('GET', '/api/v1/shared/short'), 'validation_failed')
    // One that has ended is not opened again: what leads there now is another.
    const again = await linkOf(chat)
    expect(again).not.toBe(link)
    await expectError(call('GET', link), 'not_found')
    const once = await linkOf(revoked)
    expect(once).not.toBe(gone)
    await expectError(call('GET', gone), 'not_found')
  })

  it('ends with its tenant and its chat', async () => {
    const of = await makeWorld()
    const chat = await chatWith(of, { name: 'Agent', kind: 'echo' })
    const link = await linkOf(chat)
    const stand = (status: string) =>
      env.DB.prepare('update tenants set status = ? where id = ?').bind(status, of.tenant.id).run()
    for (const status of ['suspended', 'cancelled'] as const)
      for (const path of [link, `${link}/stream`, `${link}/attachments/${crypto.randomUUID()}`]) {
        await stand(status)
        await expectError(call('GET', path), `tenant_${status}`)
      }
    await stand('active')
    expect((await view(link)).status).toBe(200)
    await call('DELETE', chat.path, chat.person)
    await expectError(call('GET', link), 'not_found')
  })

  it('lets nobody in as somebody: who has it writes nothing, and a colleague has no more than before', async () => {
    const chat = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const link = await linkOf(chat)
    await expectError(call('GET', chat.path, world.developer), 'not_found')
    const received = await callJson<{ id: string }[]>('GET', '/api/v1/chats/shared', world.developer)
    expect(received.data.map(({ id }) => id)).not.toContain(chat.id)
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
      await expectError(call(method, link, { body: {} }), 'method_not_allowed')
    await expectError(call('POST', `${link}/messages`, { body: { content: 'x' } }), 'route_not_found')
    const token = link.split('/').at(-1) ?? ''
    await expectError(call('GET', chat.path, { token }), 'invalid_token')
  })

  it('shows the chat’s files', async () => {
    const chat = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const data = new FormData()
    data.set('file', new File(['hello'], 'note.txt', { type: 'text/plain' }))
    const request = new Request('http://localhost/', { method: 'POST', body: data })
    const raw = await request.arrayBuffer()
    const headers = {
      'Content-Type': request.headers.get('Content-Type') ?? '',
      'Content-Length': String(raw.byteLength),
    }
    const file = await callJson<{ id: string }>('POST', `${chat.path}/attachments`, {
      ...chat.person,
      raw,
      headers,
    })
    await chat.exchange('Look', { attachments: [file.data.id] })
    const link = await linkOf(chat)
    const { data: shown } = await view(link)
    expect(shown.messages[0]?.attachments).toEqual([
      { id: file.data.id, name: 'note.txt', content_type: 'text/plain', size: 5 },
    ])
    const answer = await call('GET', `${link}/attachments/${file.data.id}`)
    expect([await answer.text(), answer.headers.get('X-Robots-Tag')]).toEqual(['hello', 'noindex, nofollow'])
    await unshare(chat)
    await expectError(call('GET', `${link}/attachments/${file.data.id}`), 'not_found')
  })

  it('is counted by who asks', async () => {
    const address = { headers: { 'CF-Connecting-IP': '198.51.100.88' } }
    const statuses = []
    for (let i = 0; i < 101; i += 1)
      statuses.push((await call('GET', `/api/v1/shared/${'B'.repeat(43)}`, address)).status)
    expect([statuses.slice(0, 100).every((status) => status === 404), statuses[100]]).toEqual([true, 429])
  })
})

describe('the stream of a public link', () => {
  it('tells what is said as it is said, resumes, and tells nothing of people', async () => {
    const { chat, gate } = await gatedChat(world)
    const link = await linkOf(chat)
    const reader = await follow(link)
    expect((await reader.next())?.type).toBe('snapshot')
    const own = await chat.follow()
    const sender = await chat.send('Hello', { client_message_id: 'mine-2' })
    await gate.say('Hi ')
    const delta = await reader.until('message')
    expect(delta.data).toEqual({ content: 'Hi ' })
    await callJson('POST', `${chat.path}/typing`, { ...chat.person, body: {} })
    await callJson('POST', `${chat.path}/read`, { ...chat.person, body: {} })
    await gate.say('there')
    await gate.end()
    const done = await reader.until('done')
    expect(Object.keys(done.data).sort()).toEqual(['finish', 'message', 'message_id', 'run_id'])
    await sender.rest()
    const { data } = await chat.read()
    await callJson('POST', `${chat.path}/feedback`, {
      ...chat.person,
      body: { message_id: data.messages.at(-1)?.id, rating: 'up', comment: 'A private word' },
    })
    await own.until('message.updated')
    await callJson('PATCH', chat.path, { ...chat.person, body: { title: 'Renamed' } })
    expect((await reader.until('title')).data).toEqual({ title: 'Renamed' })
    const types = new Set(reader.seen.map(({ type }) => type))
    expect([...types].sort()).toEqual(['done', 'message', 'message.created', 'snapshot', 'status', 'title'])
    const seen = JSON.stringify(reader.seen)
    for (const secret of [chat.person.user.id, world.tenant.id, 'mine-2', 'A private word', 'metadata'])
      expect([secret, seen.includes(secret)]).toEqual([secret, false])
    const again = await follow(link, { 'Last-Event-ID': delta.id ?? '' })
    expect((await again.until('message')).data).toEqual({ content: 'there' })
    await Promise.all([again.leave(), reader.leave(), own.leave()])
  })

  it('never says what is not shown any more, wherever one resumes', async () => {
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' }, { title: 'Parcels' })
    const post = (path: string, method: string, body: object) =>
      callJson(method, `${chat.path}${path}`, {
        ...chat.person,
        body,
        headers: { Accept: 'application/json' },
      })
    await chat.exchange('FIRST-WORDS')
    const { data } = await chat.read()
    await post(`/messages/${data.messages[0]?.id}`, 'PATCH', { content: 'OTHER-WORDS' })
    const other = (await chat.read()).data.messages
    await post(`/messages/${other[1]?.id}`, 'PATCH', { content: 'better words', in_place: true })
    await post(`/messages/${other[0]?.id}`, 'PATCH', { content: 'better question', in_place: true })
    const link = await linkOf(chat)
    const before = (await chat.log()).at(-3)?.id ?? ''
    for (const from of ['e1-0', 'e1-5', before]) {
      const reader = await follow(link, { 'Last-Event-ID': from })
      const first = await reader.next()
      expect(first?.type).toBe('reset')
      expect(JSON.stringify(first)).toContain('better question')
      expect(JSON.stringify(first)).not.toMatch(/FIRST-WORDS|OTHER-WORDS/)
      await reader.leave()
    }
    const live = await follow(link)
    await live.next()
    await post(`/messages/${data.messages[0]?.id}`, 'PATCH', { content: 'HIDDEN-WORDS', in_place: true })
    const from = (await chat.log()).at(-1)?.id ?? ''
    await chat.exchange('And now?')
    await live.until('done')
    expect(JSON.stringify(live.seen)).not.toContain('HIDDEN-WORDS')
    const reader = await follow(link, { 'Last-Event-ID': from })
    expect((await reader.next())?.data).toMatchObject({ role: 'user', content: 'And now?' })
    await reader.leave()
    await post(`/messages/${other[0]?.id}`, 'PATCH', { content: 'best question', in_place: true })
    expect((await live.until('message.updated')).data).toMatchObject({ content: 'best question' })
    await live.leave()
    // The chat's own people are told all.
    const own = await chat.follow('e1-0')
    expect((await own.next())?.data).toMatchObject({ content: 'FIRST-WORDS' })
    await own.leave()
  })

  it('says of a failure only that there was one', async () => {
    const chat = await chatAt(`${env.RECEIVER_URL}/upstream/status?status=500&text=SECRET-WORDS`, world)
    const link = await linkOf(chat)
    const reader = await follow(link)
    await chat.exchange('Hello')
    const failed = await reader.until('error')
    expect(failed.data).toEqual({
      message: 'The answer failed',
      code: expect.stringMatching(/^upstream_/),
      retryable: false,
      message_id: expect.any(String),
    })
    await reader.leave()
  })

  it('ends within five seconds when it is revoked, in mid-answer, and tells nothing more', async () => {
    const { chat, gate } = await gatedChat(world)
    const link = await linkOf(chat)
    const reader = await follow(link)
    const sender = await chat.send('Hello')
    await gate.say('before')
    await reader.until('message')
    const from = Date.now()
    await unshare(chat)
    await gate.say(' after')
    const rest = await reader.rest()
    expect(Date.now() - from).toBeLessThan(5_000)
    expect(rest.filter(({ type }) => type === 'message')).toEqual([])
    await gate.end()
    await sender.rest()
  })

  it('ends when its time is over, and when its tenant is suspended, though nothing is said', async () => {
    const of = await makeWorld()
    const chat = await chatWith(of, { name: 'Agent', kind: 'echo' })
    const link = await linkOf(chat, { expires_at: new Date(Date.now() + 1_500).toISOString() })
    const reader = await follow(link)
    await reader.rest()
    await expectError(call('GET', link), 'not_found')
    const gate = new Gate()
    const talking = await chatAt(gate.url, of)
    const other = await follow(await linkOf(talking))
    const sender = await talking.send('Hello')
    await gate.say('before')
    await other.until('message')
    await env.DB.prepare(`update tenants set status = 'suspended' where id = ?`).bind(of.tenant.id).run()
    const from = Date.now()
    const ended = other.rest()
    await eventually(async () => {
      await gate.say('.')
      return Date.now() - from > 5_200
    }, 8_000)
    const after = await ended
    expect(after.filter(({ type }) => type === 'done')).toEqual([])
    await gate.end()
    await sender.rest()
  }, 20_000)
})
