import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { addAttachment } from '../../src/domains/chat/attachments/service'
import { GRACE_MS, tendFiles } from '../../src/domains/files/unfinished'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { PNG, pathOf, presign, upload } from '../files/kit'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, type Person, type World } from '../world'
import { chatWith, openChat, type TestChat } from './kit'

type Attached = { id: string; name: string; content_type: string; size: number; url: string; chat_id: string }
type Told = { name: string; content_type: string; size: number; url: string; expires_at: string }

let world: World
let chat: TestChat
beforeAll(async () => {
  world = await makeWorld({ plan: 'enterprise' })
  chat = await chatWith(world, { name: 'Agent', kind: 'echo' })
})

/** A form as a browser sends it. */
async function form(fields: Record<string, string | File>) {
  const data = new FormData()
  for (const [name, value] of Object.entries(fields)) data.append(name, value)
  const request = new Request('http://localhost/', { method: 'POST', body: data })
  const raw = await request.arrayBuffer()
  const type = request.headers.get('Content-Type') ?? ''
  return { raw, headers: { 'Content-Type': type, 'Content-Length': String(raw.byteLength) } }
}

const attach = async (to: TestChat, fields: Record<string, string | File>, person: Person = to.person) =>
  callJson<Attached>('POST', `${to.path}/attachments`, { token: person.token, ...(await form(fields)) })

const picture = () => new File([PNG], 'Foto.png', { type: 'image/png' })
const text = (content = 'hello') => new File([content], 'note.txt', { type: 'text/plain' })
const objectOf = (id: string) => env.FILES.head(`${world.tenant.id}/files/${id}`)

/** A webhook agent that keeps what it was sent. */
async function keepingChat(more: Record<string, unknown> = {}) {
  const key = newId(Date.now())
  const webhook_url = `${env.RECEIVER_URL}/upstream/sse?key=${key}`
  const made = await chatWith(world, { name: 'Keeps', kind: 'webhook', webhook_url, ...more })
  const sent = async () => {
    const seen = await (await fetch(`${env.RECEIVER_URL}/upstream/requests/${key}`)).json<
      { body: string }[]
    >()
    return seen.map(
      ({ body }) => JSON.parse(body) as { messages: { attachments?: Told[] }[]; attachments?: Told[] },
    )
  }
  return { made, sent }
}

describe('attaching', () => {
  it('that breaks off leaves no bytes that nobody knows', async () => {
    const names: string[] = []
    const FILES = {
      put: async (...given: Parameters<R2Bucket['put']>) => {
        await env.FILES.put(...given)
        names.push(given[0])
        throw new Error('the isolate is gone')
      },
    }
    const ctx = { ...world.ctx, env: { ...world.ctx.env, FILES } } as unknown as typeof world.ctx
    const sent = { name: 'a.txt', content_type: 'text/plain', bytes: new Blob(['hello']) }
    await expect(addAttachment(ctx, chat.id, sent)).rejects.toThrow('the isolate is gone')
    const [name = ''] = names
    expect(await env.FILES.head(name)).toMatchObject({ size: 5 })
    const kept = await attach(chat, { file: text() })
    const later = createExecutionContext()
    await tendFiles(env as unknown as Bindings, later, Date.now() + 25 * 3600_000)
    await waitOnExecutionContext(later)
    expect(await env.FILES.head(name)).toBeNull()
    expect(await objectOf(kept.data.id)).toMatchObject({ size: 5 })
  })

  it('takes a file of a form, or one that is there, and lists and shows it', async () => {
    const own = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const sent = await attach(own, { file: picture() })
    expect([sent.status, sent.headers.get('Location')]).toEqual([201, sent.data.url])
    expect(sent.data).toMatchObject({
      name: 'Foto.png',
      content_type: 'image/png',
      size: PNG.length,
      chat_id: own.id,
    })
    const file = await upload(own.person, 'there already')
    const given = await attach(own, { file_id: file.id })
    expect([given.status, given.data.id]).toEqual([201, file.id])
    const again = await callJson<Attached>('PUT', `${own.path}/attachments/${file.id}`, own.person)
    expect([again.status, again.data]).toEqual([200, given.data])
    const list = await callJson<Attached[]>('GET', `${own.path}/attachments?limit=1`, own.person)
    const rest = await callJson<Attached[]>(
      'GET',
      `${own.path}/attachments?cursor=${list.meta.next_cursor}`,
      own.person,
    )
    expect([...list.data, ...rest.data].map(({ id }) => id)).toEqual([file.id, sent.data.id])
    const shown = await call('GET', sent.data.url, own.person)
    expect([shown.status, shown.headers.get('Content-Type')]).toEqual([200, 'image/png'])
    expect(new Uint8Array(await shown.arrayBuffer())).toEqual(PNG)
  })

  it('refuses what is no file, lies about its type, or is not the caller’s', async () => {
    const wrong = async (fields: Record<string, string | File>) => {
      const { error } = await attach(chat, fields)
      return Object.keys(error.details.fields ?? {})
    }
    expect(await wrong({})).toEqual(['file'])
    expect(await wrong({ file: 'text' })).toEqual(['file'])
    expect(await wrong({ file: new File([], 'empty') })).toEqual(['file'])
    expect(await wrong({ file: new File(['<script>'], 'a.png', { type: 'image/png' }) })).toEqual(['file'])
    expect(await wrong({ file: text(), file_id: crypto.randomUUID() })).toEqual(['file'])
    expect(await wrong({ file_id: 'x' })).toEqual(['file_id'])
    expect(await wrong({ file: text(), caption: 'x' })).toEqual(['caption'])
    const others = await upload(world.developer, 'not yours')
    for (const file_id of [others.id, crypto.randomUUID()]) {
      expect((await attach(chat, { file_id })).error.code).toBe('not_found')
      await expectError(call('PUT', `${chat.path}/attachments/${file_id}`, chat.person), 'not_found')
    }
    const pending = await presign(chat.person, {})
    expect((await attach(chat, { file_id: pending.data.file_id })).error.code).toBe('upload_incomplete')
    // Names and types as some clients send them.
    const odd = await attach(chat, { file: new File(['x'], 'C:\\dir\\odd.bin', { type: 'no type' }) })
    expect(odd.data).toMatchObject({ name: 'odd.bin', content_type: 'application/octet-stream' })
  })

  it('is for editors; viewers read; others find nothing', async () => {
    const { data } = await attach(chat, { file: text() })
    const share = (role: string) =>
      callJson('PUT', `${chat.path}/shares`, {
        ...chat.person,
        body: { user_id: world.developer.user.id, role },
      })
    expect((await attach(chat, { file: text() }, world.developer)).error.code).toBe('not_found')
    await expectError(call('GET', data.url, world.developer), 'not_found')
    await share('viewer')
    expect(await (await call('GET', data.url, world.developer)).text()).toBe('hello')
    expect((await attach(chat, { file: text() }, world.developer)).error.code).toBe('chat_role_required')
    await expectError(call('DELETE', data.url, world.developer), 'chat_role_required')
    await share('editor')
    const theirs = await attach(chat, { file: text('theirs') }, world.developer)
    expect(await (await call('GET', theirs.data.url, chat.person)).text()).toBe('theirs')
  })

  it('keeps within the plan’s storage', async () => {
    const small = await makeWorld({ rate_limits: { storage_bytes: 10 } })
    const own = await chatWith(small, { name: 'Agent', kind: 'echo' })
    expect((await attach(own, { file: text('0123456789') })).status).toBe(201)
    expect((await attach(own, { file: text('x') })).error.code).toBe('storage_limit_reached')
  })
})

describe('a message with files', () => {
  it('shows them, in its stream and afterwards', async () => {
    const [one, two] = [await attach(chat, { file: picture() }), await attach(chat, { file: text() })]
    const reader = await chat.follow()
    await chat.exchange('Look', { attachments: [one.data.id, two.data.id] })
    const expected = [
      { id: one.data.id, name: 'Foto.png', content_type: 'image/png', size: PNG.length },
      { id: two.data.id, name: 'note.txt', content_type: 'text/plain', size: 5 },
    ]
    const created = await reader.until('message.created')
    expect(created.data.attachments).toEqual(expected)
    await reader.leave()
    const { data } = await chat.read()
    expect(data.messages.at(-2)).toMatchObject({ content: 'Look', attachments: expected })
    await chat.forget()
    expect((await chat.read()).data.messages.at(-2)).toMatchObject({ attachments: expected })
  })

  it('that are not the chat’s is refused by their places, and the chat unharmed', async () => {
    const mine = await attach(chat, { file: text() })
    const other = await openChat(world, world.member, chat.agentId)
    const elsewhere = await attach(other, { file: text() })
    const stranger = await makeWorld()
    const theirs = await upload(stranger.member, 'another tenant’s')
    const loose = await upload(world.member, 'of no chat')
    const before = await chat.read()
    const body = {
      content: 'Look',
      attachments: [mine.data.id, elsewhere.data.id, theirs.id, loose.id, crypto.randomUUID()],
    }
    const error = await expectError(chat.post(body), 'validation_failed')
    expect(Object.keys(error.details.fields ?? {})).toEqual([1, 2, 3, 4].map((i) => `attachments.${i}`))
    const twice = await expectError(
      chat.post({ content: 'x', attachments: [mine.data.id, mine.data.id] }),
      'validation_failed',
    )
    expect(Object.keys(twice.details.fields ?? {})).toEqual(['attachments'])
    const many = Array.from({ length: 9 }, () => crypto.randomUUID())
    await expectError(chat.post({ content: 'x', attachments: many }), 'validation_failed')
    expect((await chat.read()).data.messages).toEqual(before.data.messages)
    expect((await chat.exchange('Still there')).at(-1)?.type).toBe('done')
  })

  it('is another message under the same client_message_id with other files', async () => {
    const file = await attach(chat, { file: text() })
    const client_message_id = crypto.randomUUID()
    await chat.exchange('Look', { attachments: [file.data.id], client_message_id })
    const again = await chat.post({ content: 'Look', attachments: [file.data.id], client_message_id })
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([200, 'true'])
    await again.body?.cancel()
    await expectError(chat.post({ content: 'Look', client_message_id }), 'idempotency_key_reused')
  })

  it('keeps them where it is said differently, over a socket too', async () => {
    const own = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const file = await attach(own, { file: text() })
    const socket = await own.socket()
    socket.send('message', { content: 'Look', attachments: [file.data.id] })
    await socket.until('done')
    const asked = (await own.read()).data.messages[0]
    const edited = await callJson('PATCH', `${own.path}/messages/${asked?.id}`, {
      token: own.person.token,
      headers: { Accept: 'application/json' },
      body: { content: 'Look again' },
    })
    expect(edited.status).toBe(200)
    expect((await own.read()).data.messages[0]).toMatchObject({
      content: 'Look again',
      attachments: [{ id: file.data.id }],
    })
    socket.ws.close()
  })

  it('fits into one event whatever the names are', async () => {
    const own = await chatWith(world, { name: 'Agent', kind: 'echo' })
    const ids = []
    for (let i = 0; i < 8; i += 1) {
      const said = { filename: `${'"'.repeat(200)}${i}`, content_type: `application/${'x'.repeat(68)}` }
      const file_id = (await upload(own.person, 'x', said)).id
      ids.push((await attach(own, { file_id })).data.id)
    }
    const reader = await own.follow()
    await own.exchange('y'.repeat(5000), { attachments: ids, client_message_id: '\u0001'.repeat(255) })
    const created = await reader.until('message.created')
    expect(created.data.attachments).toHaveLength(8)
    expect(reader.longest).toBeLessThanOrEqual(4096)
    await reader.leave()
  })
})

describe('agents', () => {
  it('of a webhook are sent URLs that show the files, with the question and with what was before', async () => {
    const { made, sent } = await keepingChat()
    const file = await attach(made, { file: text('for the agent') })
    await made.exchange('Look', { attachments: [file.data.id] })
    await made.exchange('And now?')
    const [first, second] = await sent()
    const [told] = first?.attachments ?? []
    expect(first?.messages.at(-1)?.attachments).toEqual(first?.attachments)
    expect(told).toMatchObject({ name: 'note.txt', content_type: 'text/plain', size: 13 })
    expect(Date.parse(told?.expires_at ?? '')).toBeGreaterThan(Date.now() + 3600_000)
    expect(await (await call('GET', pathOf(told?.url ?? ''))).text()).toBe('for the agent')
    expect(second?.attachments).toBe(undefined)
    expect(second?.messages[0]?.attachments?.[0]?.name).toBe('note.txt')
    // What is taken out of the chat is not sent any more.
    await call('DELETE', file.data.url, made.person)
    await made.exchange('And then?')
    expect((await sent()).at(-1)?.messages.some(({ attachments }) => attachments)).toBe(false)
    await expectError(call('GET', pathOf(told?.url ?? '')), 'not_found')
  })

  it('of the OpenAI protocol are shown pictures, and told of other files', async () => {
    const key = newId(Date.now())
    const base_url = `${env.RECEIVER_URL}/upstream/openai?key=${key}`
    const made = await chatWith(world, { name: 'GPT', kind: 'openai', base_url, config: { model: 'm' } })
    const [one, two] = [await attach(made, { file: picture() }), await attach(made, { file: text() })]
    await made.exchange('Look', { attachments: [one.data.id, two.data.id] })
    const seen = await (await fetch(`${env.RECEIVER_URL}/upstream/requests/${key}`)).json<
      { body: string }[]
    >()
    const { messages } = JSON.parse(seen[0]?.body ?? '{}')
    const [words, image, ...more] = messages[0].content
    expect(more).toEqual([])
    expect(words.text).toMatch(/^Look\n\n\[Attached file: note\.txt \(text\/plain, 5 bytes\) http.+\]$/)
    expect(image.type).toBe('image_url')
    const shown = await call('GET', pathOf(image.image_url.url))
    expect(new Uint8Array(await shown.arrayBuffer())).toEqual(PNG)
  })
})

describe('a fork, and an import', () => {
  it('have the files that they may have, and show an agent no other', async () => {
    const { made, sent } = await keepingChat()
    const file = await attach(made, { file: text() })
    await made.exchange('Look', { attachments: [file.data.id] })
    const { data } = await made.read()
    await callJson('PUT', `${made.path}/shares`, {
      ...made.person,
      body: { user_id: world.developer.user.id, role: 'viewer' },
    })
    const fork = await callJson<{ id: string }>('POST', `${made.path}/fork`, {
      ...world.developer,
      body: { message_id: data.messages.at(-1)?.id },
    })
    expect(fork.status).toBe(201)
    // Whoever could read it then, reads it there, whatever becomes of the chat that it was in.
    expect((await call('DELETE', made.path, made.person)).status).toBe(204)
    const copy = `/api/v1/chats/${fork.data.id}`
    expect(await (await call('GET', `${copy}/attachments/${file.data.id}`, world.developer)).text()).toBe(
      'hello',
    )
    const ask = (path: string, content: string) =>
      callJson('POST', `${path}/messages`, {
        ...world.developer,
        headers: { Accept: 'application/json' },
        body: { content },
      })
    expect((await ask(copy, 'And now?')).status).toBe(200)
    expect((await sent()).at(-1)?.messages[0]?.attachments?.[0]?.name).toBe('note.txt')

    // A file made up to name what is another's.
    const others = await upload(world.admin, 'not theirs')
    const exported = (await (await call('GET', `${copy}/export`, world.developer)).json()) as {
      messages: { attachments: { id: string }[] }[]
    }
    for (const message of exported.messages)
      for (const attachment of message.attachments) attachment.id = others.id
    const imported = await callJson<{ result: { chat_ids?: string[]; ids?: string[] } }>(
      'POST',
      '/api/v1/chats/import',
      {
        ...world.developer,
        body: exported,
      },
    )
    expect(imported.status).toBe(201)
    const [id] = imported.data.result.chat_ids ?? imported.data.result.ids ?? []
    const forged = `/api/v1/chats/${id}`
    await expectError(call('GET', `${forged}/attachments/${others.id}`, world.developer), 'not_found')
    expect((await ask(forged, 'Show me')).status).toBe(200)
    const told = (await sent()).at(-1)
    expect(told?.messages.map(({ attachments }) => attachments)).toEqual(told?.messages.map(() => undefined))
  })
})

describe('what a chat leaves', () => {
  it('goes with it, but for what is in another chat, or somebody’s own', async () => {
    const [first, second] = [
      await openChat(world, world.member, chat.agentId),
      await openChat(world, world.member, chat.agentId),
    ]
    const alone = await attach(first, { file: text() })
    const both = await attach(first, { file: text() })
    await callJson('PUT', `${second.path}/attachments/${both.data.id}`, world.member)
    const own = await upload(world.member, 'mine', { purpose: 'report' })
    await attach(first, { file_id: own.id })
    expect((await call('DELETE', first.path, world.member)).status).toBe(204)
    const ctx = createExecutionContext()
    await tendFiles(env as unknown as Bindings, ctx, Date.now() + GRACE_MS + 60_000)
    await waitOnExecutionContext(ctx)
    expect([
      await objectOf(alone.data.id),
      (await objectOf(both.data.id))?.size,
      (await objectOf(own.id))?.size,
    ]).toEqual([...[null, 5, 4]])
    await expectError(call('GET', `/api/v1/files/${alone.data.id}`, world.member), 'not_found')
    expect(await (await call('GET', `${second.path}/attachments/${both.data.id}`, world.member)).text()).toBe(
      'hello',
    )
    expect((await call('DELETE', `${second.path}/attachments/${both.data.id}`, world.member)).status).toBe(
      204,
    )
    await expectError(call('GET', `/api/v1/files/${both.data.id}`, world.member), 'not_found')
    expect((await call('GET', `/api/v1/files/${own.id}`, world.member)).status).toBe(200)
  })
})
