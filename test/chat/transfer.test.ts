import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { importing } from '../../src/domains/chat/transfer/job'
import { parseFile } from '../../src/domains/chat/transfer/parse'
import { putAway } from '../../src/domains/files/passing'
import { tendFiles } from '../../src/domains/files/unfinished'
import { MOST } from '../../src/domains/tenancy/plans'
import { newId } from '../../src/lib/ids'
import { call, callJson, makePerson, makeWorld, type Person, type World } from '../world'
import { chatWith, eventually, openChat, TestChat, textOf } from './kit'

type Json = Record<string, unknown>
type Message = {
  id: string
  parent_id: string | null
  role: string
  content: string
  status: string
  timestamp: string
  metadata: Json
  attachments: Json[]
  feedback?: Json[]
}
type File = { chat: Json; messages: Message[]; active_leaf: string | null } & Json
type Job = { id: string; status: string; result: { chats: number; chat_ids: string[] } }

let world: World
let agentId: string
let me: Person

beforeAll(async () => {
  world = await makeWorld({ rate_limits: MOST })
  agentId = (await chatWith(world, { name: 'Echo', kind: 'echo' })).agentId
  me = await makePerson(world.tenant, 'member')
})

const exported = async (chat: TestChat, token = chat.person.token): Promise<File> =>
  (await call('GET', `${chat.path}/export`, { token })).json()
const imported = (body: unknown, query = `?agent_id=${agentId}`, person = me) =>
  callJson<Job>('POST', `/api/v1/chats/import${query}`, { token: person.token, body })
const chatsOf = ({ data }: { data: Job }, person = me) =>
  data.result.chat_ids.map((id) => new TestChat(world, person, id, agentId))

/** Imports what must be right, and gives the one chat that comes of it. */
async function taken(body: unknown, person = me): Promise<TestChat> {
  const answer = await imported(body, undefined, person)
  expect([answer.status, answer.error]).toEqual([201, undefined])
  const [chat] = chatsOf(answer, person)
  if (!chat) throw new Error('no chat was imported')
  return chat
}

const refusal = async (body: unknown, query?: string) => {
  const { status, error } = await imported(body, query)
  return [status, error?.details.fields ?? error?.code]
}

/** A file without what another chat has otherwise. */
const comparable = ({ exported_at: _, chat: { id: _id, ...chat }, ...file }: File) => ({ ...file, chat })

const at = (minute: number) => new Date(Date.UTC(2026, 0, 31, 9, minute)).toISOString()

/** A file of our own with two branches, a long answer and what one thought of it. */
function ownFile(): File {
  const id = (n: number) => newId(Date.UTC(2026, 0, 31, 9, n))
  const [q1, a1, q2, a2, a2b] = [id(1), id(2), id(3), id(4), id(5)]
  const base = { status: 'complete', metadata: {}, attachments: [] }
  return {
    format: 'causeway.chat',
    version: 1,
    exported_at: at(30),
    chat: {
      id: newId(Date.now()),
      title: 'Of herons',
      agent_id: agentId,
      is_archived: false,
      is_pinned: true,
      tags: ['birds'],
      metadata: { order: 'A-17' },
      created_at: at(0),
    },
    messages: [
      { ...base, id: q1, parent_id: null, role: 'user', content: 'What is a heron?', timestamp: at(1) },
      {
        ...base,
        id: a1,
        parent_id: q1,
        role: 'assistant',
        content: 'A bird',
        timestamp: at(2),
        status: 'stopped',
      },
      { ...base, id: q2, parent_id: a1, role: 'user', content: 'Tell more', timestamp: at(3) },
      {
        ...{ ...base, id: a2, parent_id: q2, role: 'assistant', timestamp: at(4) },
        content: `Long ${'\u{1f426}x'.repeat(100_000)} end`,
        metadata: { finish: 'stop', usage: { prompt_tokens: 3 } },
        feedback: [{ user_id: me.user.id, rating: 'up', comment: 'Good', timestamp: at(6) }],
      },
      { ...base, id: a2b, parent_id: q2, role: 'assistant', content: 'Another', timestamp: at(5) },
    ],
    active_leaf: a2,
  }
}

describe('an export', () => {
  it('has every branch, and comes back the same after an import', async () => {
    const file = ownFile()
    const chat = await taken(file)
    const again = await exported(chat)
    expect(comparable(again)).toEqual(comparable(file))
    const twice = await exported(await taken(again))
    expect(comparable(twice)).toEqual(comparable(file))
    const row = await callJson<Json>('GET', chat.path, { token: me.token })
    expect(row.data).toMatchObject({
      ...{ title: 'Of herons', is_pinned: true, tags: ['birds'], metadata: { order: 'A-17' } },
      ...{ message_count: 5, last_message_at: at(5), created_at: at(0), user_id: me.user.id },
    })
    const shown = row.data.messages as Message[]
    expect(shown.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant'])
    expect(shown.at(-1)?.content).toBe(file.messages[3]?.content)
  })

  it('is of a chat as it was said here, too', async () => {
    const chat = await openChat(world, me, agentId, { tags: ['a'] })
    await chat.exchange('first')
    const before = await chat.read()
    const [, answer] = before.data.messages
    await callJson('POST', `${chat.path}/messages/${answer?.id}/regenerate`, {
      token: me.token,
      body: {},
      headers: { Accept: 'application/json' },
    })
    await callJson('POST', `${chat.path}/feedback`, {
      token: me.token,
      body: { message_id: answer?.id, rating: 'down', comment: 'No' },
    })
    const file = await exported(chat)
    expect(file.messages).toHaveLength(3)
    expect(file.messages.some((message) => 'run_id' in message || 'siblings' in message)).toBe(false)
    const back = await taken(file)
    expect(comparable(await exported(back))).toEqual(
      comparable({ ...file, chat: { ...file.chat, title: 'first' } }),
    )
    // It goes on like any other.
    await back.exchange('second')
    const { data } = await back.read()
    expect(data.messages.map(({ content }) => content)).toEqual(['first', 'first', 'second', 'second'])
    expect(data.messages[2]?.parent_id).toBe(file.active_leaf)
  })

  it('as Markdown is what is shown', async () => {
    const chat = await taken({ ...ownFile(), active_leaf: null })
    const answer = await call('GET', `${chat.path}/export?format=markdown`, { token: me.token })
    expect(answer.headers.get('Content-Type')).toBe('text/markdown; charset=utf-8')
    expect(answer.headers.get('Content-Disposition')).toBe(`attachment; filename="chat-${chat.id}.md"`)
    expect(await answer.text()).toBe(
      '# Of herons\n\n## User · 2026-01-31 09:01 UTC\n\nWhat is a heron?\n\n## Assistant · 2026-01-31 09:02 UTC\n\nA bird\n\n## User · 2026-01-31 09:03 UTC\n\nTell more\n\n## Assistant · 2026-01-31 09:05 UTC\n\nAnother\n',
    )
  })

  it('is for who may read the chat, and of a long one comes whole', async () => {
    const messages = Array.from({ length: 350 }, (_, n) => ({
      ...{ id: newId(1e12 + n * 1000), role: n % 2 ? 'assistant' : 'user', content: `message ${n}` },
      ...{ parent_id: null as string | null, timestamp: new Date(1e12 + n * 1000).toISOString() },
    }))
    messages.forEach((message, n) => {
      message.parent_id = messages[n - 1]?.id ?? null
    })
    const chat = await taken({ ...ownFile(), messages, active_leaf: null })
    const file = await exported(chat)
    expect(file.messages.map(({ content }) => content)).toEqual(messages.map(({ content }) => content))
    expect(file.active_leaf).toBe(messages.at(-1)?.id)
    const stranger = await makePerson(world.tenant, 'member')
    expect((await call('GET', `${chat.path}/export`, { token: stranger.token })).status).toBe(404)
    expect((await call('GET', `${chat.path}/export?format=pdf`, { token: me.token })).status).toBe(422)
    const empty = await exported(await openChat(world, me, agentId))
    expect([empty.messages, empty.active_leaf]).toEqual([[], null])
  })
})

/** A conversation as ChatGPT exports it: a hidden system message, a branch, code, a tool, pictures, a thought. */
function chatGpt(): Json & { mapping: Record<string, Json> } {
  const node = (id: string, parent: string | null, children: string[], message: Json | null) => ({
    id,
    parent,
    children,
    message,
  })
  const said = (role: string, content: Json, create_time: number | null, more: Json = {}) => ({
    author: { role, name: null, metadata: {} },
    create_time,
    content,
    status: 'finished_successfully',
    weight: 1,
    metadata: {},
    recipient: 'all',
    ...more,
  })
  const text = (...parts: unknown[]) => ({ content_type: 'text', parts })
  return {
    title: 'Heron facts',
    create_time: 1700000000.5,
    update_time: 1700000100,
    current_node: 'answer-2',
    conversation_id: 'conv-1',
    is_archived: true,
    moderation_results: [],
    mapping: {
      root: node('root', null, ['system'], null),
      system: node(
        'system',
        'root',
        ['q'],
        said('system', text(''), null, { metadata: { is_visually_hidden_from_conversation: true } }),
      ),
      q: node(
        'q',
        'system',
        ['thought', 'answer-1'],
        said(
          'user',
          {
            content_type: 'multimodal_text',
            parts: [
              { content_type: 'image_asset_pointer', asset_pointer: 'file-service://x' },
              'What is this?',
            ],
          },
          1700000001.25,
        ),
      ),
      'answer-1': node(
        'answer-1',
        'q',
        [],
        said('assistant', text('A stork'), 1700000002, { metadata: { model_slug: 'gpt-4o' } }),
      ),
      thought: node(
        'thought',
        'q',
        ['call'],
        said(
          'assistant',
          { content_type: 'thoughts', thoughts: [{ summary: 'Hm', content: 'It has legs' }] },
          1700000003,
        ),
      ),
      call: node(
        'call',
        'thought',
        ['tool'],
        said('assistant', { content_type: 'code', language: 'python', text: 'print(1)' }, 1700000004, {
          recipient: 'python',
        }),
      ),
      tool: node(
        'tool',
        'call',
        ['answer-2'],
        said('tool', { content_type: 'execution_output', text: '1' }, 1700000005, {
          author: { role: 'tool', name: 'python' },
        }),
      ),
      'answer-2': node(
        'answer-2',
        'tool',
        [],
        said('assistant', text('A heron'), null, { metadata: { model_slug: 'gpt-4o' } }),
      ),
    },
  }
}

describe('an import of ChatGPT’s conversations', () => {
  it('keeps all that was shown, with its branches, times and words', async () => {
    const chat = await taken([chatGpt()])
    const file = await exported(chat)
    expect(file.chat).toMatchObject({
      ...{ title: 'Heron facts', is_archived: true, created_at: new Date(1700000000500).toISOString() },
      metadata: { imported_from: 'chatgpt', conversation_id: 'conv-1' },
    })
    const named = new Map(file.messages.map(({ id, content }) => [id, content]))
    const tree = file.messages.map(({ role, content, parent_id, metadata }) => [
      ...[role, content, parent_id === null ? null : named.get(parent_id), metadata],
    ])
    const q = '[image]\n\nWhat is this?'
    expect(tree).toEqual(
      [
        ['user', q, null, {}],
        ['assistant', 'A heron', '```\n1\n```', { model: 'gpt-4o' }],
      ].flatMap((row, i) =>
        i === 0
          ? [
              row,
              ['assistant', 'A stork', q, { model: 'gpt-4o' }],
              ['assistant', '```python\nprint(1)\n```', q, {}],
              ['assistant', '```\n1\n```', '```python\nprint(1)\n```', { tool: 'python' }],
            ]
          : [row],
      ),
    )
    expect(named.get(file.active_leaf ?? '')).toBe('A heron')
    const ids = file.messages.map(({ id }) => id)
    expect(ids).toEqual([...ids].sort())
    expect(file.messages[0]?.timestamp).toBe(new Date(1700000001250).toISOString())
  })

  it('is refused with where it is wrong, and nothing is made', async () => {
    const person = await makePerson(world.tenant, 'member')
    const broken = (change: (mapping: Record<string, Json>, file: Json) => void) => {
      const file = chatGpt()
      change(file.mapping, file)
      return [chatGpt(), file]
    }
    const before = await rowsOf(person)
    const cases: [unknown, string][] = [
      [broken((mapping) => Object.assign(mapping.q ?? {}, { parent: 'answer-1' })), '1.mapping.q.parent'],
      [broken((mapping) => Object.assign(mapping.root ?? {}, { parent: 'system' })), '1.mapping.'],
      [
        broken((mapping) => Object.assign(mapping['answer-1'] ?? {}, { parent: 'nobody' })),
        '1.mapping.answer-1.parent',
      ],
      [
        broken((mapping) => Object.assign(mapping.q ?? {}, { message: { author: 7 } })),
        '1.mapping.q.message.author',
      ],
      [broken((_, file) => Object.assign(file, { mapping: { a: 7 } })), '1.mapping.a'],
      [[chatGpt(), { hello: 'world' }], '1'],
      [{ hello: 'world' }, 'body'],
    ]
    for (const [file, path] of cases) {
      const { status, error } = await imported(file, undefined, person)
      const fields = Object.keys(error?.details.fields ?? {})
      expect([path, status, fields.every((field) => field.startsWith(path)), fields.length]).toEqual([
        path,
        422,
        true,
        fields.length || 1,
      ])
    }
    for (const file of [[], 7, 'text', null, [7]])
      expect((await imported(file, undefined, person)).status).toBe(422)
    expect(await rowsOf(person)).toEqual(before)
  })
})

describe('an import of Open WebUI’s chats', () => {
  it('keeps branches, times and tags', async () => {
    const chat = await taken([
      {
        id: 'owui-1',
        user_id: 'someone',
        title: 'Ducks',
        chat: {
          title: 'Ducks',
          models: ['llama3'],
          history: {
            messages: {
              a: {
                id: 'a',
                parentId: null,
                childrenIds: ['b', 'c'],
                role: 'user',
                content: 'Quack?',
                timestamp: 1700000000,
              },
              b: {
                id: 'b',
                parentId: 'a',
                childrenIds: [],
                role: 'assistant',
                content: 'Quack',
                timestamp: 1700000001,
                model: 'llama3',
                done: true,
              },
              c: {
                id: 'c',
                parentId: 'a',
                childrenIds: [],
                role: 'assistant',
                content: 'Quack quack',
                timestamp: 1700000002,
                model: 'llama3',
              },
            },
            currentId: 'b',
          },
        },
        meta: { tags: ['birds', 'birds', ' '] },
        created_at: 1700000000,
        updated_at: 1700000002,
        pinned: true,
        archived: false,
      },
    ])
    const file = await exported(chat)
    expect(file.chat).toMatchObject({ title: 'Ducks', tags: ['birds'], is_pinned: true })
    expect(file.messages.map(({ content }) => content)).toEqual(['Quack?', 'Quack', 'Quack quack'])
    expect(file.active_leaf).toBe(file.messages[1]?.id)
    const wrongOne = await refusal([
      { chat: { history: { messages: { a: { role: 'user', content: 'x', parentId: 'b' } } } } },
    ])
    expect(wrongOne).toEqual([
      422,
      { '0.chat.history.messages.a.parentId': 'must be the id of a message of the chat' },
    ])
  })
})

describe('an import', () => {
  it('of a file that is wrong says where, and makes nothing', async () => {
    const person = await makePerson(world.tenant, 'member')
    const file = ownFile()
    const [first] = file.messages
    const bad: [Json, string][] = [
      [{ ...file, version: 2 }, 'version'],
      [{ ...file, messages: [{ ...first, role: 'robot' }] }, 'messages.0.role'],
      [{ ...file, messages: [{ ...first, parent_id: 'nobody' }] }, 'messages.0.parent_id'],
      [{ ...file, messages: [{ ...first, parent_id: first?.id }] }, 'messages.0.parent_id'],
      [{ ...file, messages: [first, first] }, 'messages.1.id'],
      [{ ...file, messages: [{ ...first, metadata: { x: 'y'.repeat(3000) } }] }, 'messages.0.metadata'],
      [{ ...file, messages: Array(10_001).fill(first) }, 'messages'],
      [{ ...file, chat: { ...file.chat, title: 'x'.repeat(201) } }, 'chat.title'],
      [{ ...file, chat: { ...file.chat, title: ' ' } }, 'chat.title'],
      [{ ...file, chat: { ...file.chat, metadata: { x: 'y'.repeat(17_000) } } }, 'chat.metadata'],
      [{ ...file, active_leaf: 'nobody' }, 'active_leaf'],
    ]
    for (const [body, path] of bad) {
      const { status, error } = await imported(body, undefined, person)
      expect([status, Object.keys(error?.details.fields ?? {})]).toEqual([422, [path]])
    }
    // One that is right beside one that is not.
    const both = await imported([file, { ...file, version: 2 }], undefined, person)
    expect([both.status, Object.keys(both.error.details.fields ?? {})]).toEqual([422, ['1.version']])
    const html = await call('POST', '/api/v1/chats/import', {
      token: person.token,
      raw: '<html>',
      headers: { 'Content-Type': 'application/json' },
    })
    expect(html.status).toBe(400)
    const large = await call('POST', '/api/v1/chats/import', {
      token: person.token,
      raw: `"${'x'.repeat(16 * 1024 * 1024)}"`,
      headers: { 'Content-Type': 'application/json' },
    })
    expect(large.status).toBe(413)
    expect(await rowsOf(person)).toEqual([0, 0])
  })

  it('says of what is no file what one is', async () => {
    expect(await refusal([1])).toEqual([422, { 0: 'must be a chat: a JSON object' }])
    expect(await refusal('herons')).toEqual([422, { body: 'must be a chat: a JSON object or a list' }])
    expect(await refusal({ ...ownFile(), messages: 'none' })).toEqual([
      422,
      { messages: 'must be a list of messages' },
    ])
  })

  it('makes nothing that was said later than now, and no tag twice', async () => {
    const file = ownFile()
    const messages = file.messages.map((one) => ({ ...one, timestamp: '9999-12-31T23:59:59.999Z' }))
    const begun = Date.now()
    const chat = await taken({ ...file, messages, chat: { ...file.chat, tags: ['birds', 'birds'] } })
    const { data } = await chat.read()
    for (const { timestamp } of (await exported(chat)).messages)
      expect(Date.parse(timestamp)).toBeLessThanOrEqual(Date.now())
    expect(Date.parse(String(data.last_message_at))).toBeGreaterThanOrEqual(begun)
    expect(Date.parse(String(data.last_message_at))).toBeLessThanOrEqual(Date.now())
    expect(data).toMatchObject({ tags: ['birds'] })
  })

  it('needs an agent that there is: the one that is given, else the one of the file', async () => {
    const file = ownFile()
    expect((await imported(file, '')).status).toBe(201)
    const elsewhere = { ...file, chat: { ...file.chat, agent_id: newId(Date.now()) } }
    expect(await refusal(elsewhere, '')).toEqual([
      422,
      { agent_id: 'must be given: a chat of the file names no agent that there is' },
    ])
    expect(await refusal(chatGpt(), '')).toEqual([
      422,
      { agent_id: 'must be given: a chat of the file names no agent that there is' },
    ])
    expect(await refusal(file, `?agent_id=${newId(Date.now())}`)).toEqual([
      422,
      { agent_id: 'must be the id of an agent' },
    ])
    const other = await makeWorld()
    const theirs = await chatWith(other, { name: 'Echo', kind: 'echo' })
    expect(await refusal(file, `?agent_id=${theirs.agentId}`)).toEqual([
      422,
      { agent_id: 'must be the id of an agent' },
    ])
    expect((await imported(elsewhere)).status).toBe(201)
  })

  it('takes nothing over that others said of answers, or that is not the importer’s', async () => {
    const file = ownFile()
    const other = await makePerson(world.tenant, 'member')
    const upload = new FormData()
    const chat = await openChat(world, me, agentId)
    upload.append(
      'file',
      new File([Uint8Array.from([0x89, 0x50, 0x4e, 0x47])], 'heron.txt', { type: 'text/plain' }),
    )
    const packed = new Response(upload)
    const bytes = await packed.clone().arrayBuffer()
    const { data: attached } = await callJson<{
      id: string
      name: string
      content_type: string
      size: number
    }>('POST', `${chat.path}/attachments`, {
      token: me.token,
      raw: bytes,
      headers: {
        'Content-Type': packed.headers.get('Content-Type') ?? '',
        'Content-Length': String(bytes.byteLength),
      },
    })
    const { id, name, content_type, size } = attached
    const [question] = file.messages
    const withFile = {
      ...file,
      messages: [{ ...question, attachments: [{ id, name, content_type, size }] }, ...file.messages.slice(1)],
    }
    const mine = await taken(withFile)
    const theirs = await taken(withFile, other)
    expect((await exported(mine)).messages[0]?.attachments).toEqual([{ id, name, content_type, size }])
    expect((await call('GET', `${mine.path}/attachments/${id}`, { token: me.token })).status).toBe(200)
    expect((await call('GET', `${theirs.path}/attachments/${id}`, { token: other.token })).status).toBe(404)
    expect((await exported(theirs)).messages[3]?.feedback).toBeUndefined()
    expect((await exported(mine)).messages[3]?.feedback).toHaveLength(1)
  })

  it('fits into events, whatever stands beside its words', async () => {
    const file = ownFile()
    const [question, answer] = file.messages
    const text = 'z'.repeat(6000)
    const attachments = Array.from({ length: 8 }, (_, size) => ({
      ...{ id: null, name: '漢'.repeat(80), content_type: '"'.repeat(80), size },
    }))
    Object.assign(file.chat, { title: '漢'.repeat(200) })
    Object.assign(question as object, {
      attachments,
      metadata: { client_message_id: 'mine', x: 'y'.repeat(1990) },
    })
    Object.assign(answer as object, {
      attachments,
      metadata: { x: 'y'.repeat(2000) },
      content: text,
    })
    Object.assign(file, { messages: [question, answer], active_leaf: answer?.id })
    const chat = await taken(file)
    const [late, early] = [await chat.follow(), await chat.follow('e1-0')]
    const snapshot = await late.until('snapshot')
    expect(snapshot.data).toMatchObject({ title: '漢'.repeat(200), messages: [{ metadata_truncated: true }] })
    while (textOf(late.seen).length < text.length) await late.next()
    expect(textOf(late.seen)).toBe(text)
    const created = await early.until('message.created')
    expect(created.data).toMatchObject({ metadata: question?.metadata, content: question?.content })
    await early.until('title')
    for (const reader of [late, early]) expect(reader.longest).toBeLessThanOrEqual(4096)
    await Promise.all([late.leave(), early.leave()])
    const { data } = await chat.read()
    expect(data.messages[0]?.metadata).toMatchObject({ x: 'y'.repeat(1990) })
    expect(data.messages[1]?.content).toBe(text)
  })

  it('is found by search, heard of once, and unread by nobody', async () => {
    const person = await makePerson(world.tenant, 'member')
    const file = {
      ...ownFile(),
      messages: ownFile()
        .messages.slice(0, 1)
        .map((one) => ({ ...one, content: 'A quetzal' })),
      active_leaf: null,
    }
    const chat = await taken(file, person)
    const found = await callJson<{ id: string }[]>('GET', '/api/v1/chats/search?q=quetzal', {
      token: person.token,
    })
    expect(found.data.map(({ id }) => id)).toEqual([chat.id])
    const announced = await env.DB.prepare('select type from events where tenant_id = ? and subject = ?')
      .bind(world.tenant.id, person.user.id)
      .all<{ type: string }>()
    expect(announced.results.map(({ type }) => type)).toEqual(['chat.created'])
    const read = await callJson<{ unread_count: number }>('POST', `${chat.path}/read`, {
      token: person.token,
      body: {},
    })
    expect(read.data.unread_count).toBe(0)
  })

  it('of many chats is a job, which makes each once whatever happens to it', async () => {
    const person = await makePerson(world.tenant, 'member')
    const files = Array.from({ length: 23 }, (_, n) => ({
      ...ownFile(),
      chat: { ...ownFile().chat, title: `Import ${n}` },
    }))
    const answer = await imported(files, undefined, person)
    expect([answer.status, answer.data.status]).toEqual([202, 'queued'])
    const job = await eventually(async () => {
      const { data } = await callJson<Job>('GET', `/api/v1/jobs/${answer.data.id}`, {
        token: world.admin.token,
      })
      return data.status === 'completed' ? data : null
    }, 20_000)
    expect(job.result.chats).toBe(23)
    expect(new Set(job.result.chat_ids).size).toBe(23)
    const titles = await env.DB.prepare('select title from chats where tenant_id = ? and user_id = ?')
      .bind(world.tenant.id, person.user.id)
      .all<{ title: string }>()
    expect(titles.results.map(({ title }) => title).sort()).toEqual(
      files.map(({ chat }) => chat.title).sort(),
    )
  })

  it('of a job makes each chat once where a step is repeated, and none after its bytes are gone', async () => {
    const person = await makePerson(world.tenant, 'member')
    const files = Array.from({ length: 3 }, () => parseFile(world.ctx, ownFile())[0]?.chat)
    const coming = files.map((chat) => ({
      ...{ id: newId(Date.now()), user_id: person.user.id, api_key_id: null },
      ...{ agent_id: agentId, chat },
    }))
    const bytes_id = newId(Date.now())
    await putAway(world.ctx, bytes_id, coming.map((one) => JSON.stringify(one)).join('\n'))
    const job = {
      id: newId(Date.now()),
      input: { user_id: person.user.id, chats: 3, bytes_id },
      state: { taken: 0, ids: [] },
      failures: 0,
    }
    // The object of one was written before the first try was cut off, and one became a chat.
    const half = new TestChat(world, person, coming[1]?.id ?? '', agentId)
    const begun = { messages: coming[1]?.chat?.messages.slice(0, 2), title: 'half', leaf: null }
    await half.inObject((object) =>
      object.tell(half.ids, 'plant', { ...begun, agent_id: agentId, user_id: person.user.id } as never),
    )
    const first = await importing.step(world.ctx, job)
    expect([first.done, first.result]).toEqual([true, { chats: 3, chat_ids: coming.map(({ id }) => id) }])
    const again = await importing.step(world.ctx, job)
    expect(again.result).toEqual(first.result)
    expect(await rowsOf(person)).toEqual([3, 3])
    expect((await exported(half)).messages).toHaveLength(5)
    const waits = { waitUntil: () => undefined }
    await tendFiles(world.ctx.env, waits, Date.now() + 20 * 3600_000)
    expect((await importing.step(world.ctx, job)).done).toBe(true)
    await tendFiles(world.ctx.env, waits, Date.now() + 25 * 3600_000)
    await expect(importing.step(world.ctx, job)).rejects.toMatchObject({ code: 'not_found' })
  })

  it('with an idempotency key is made once', async () => {
    const person = await makePerson(world.tenant, 'member')
    const body = ownFile()
    const init = { token: person.token, body, headers: { 'Idempotency-Key': 'import-1' } }
    const all = await Promise.all([1, 2, 3].map(() => callJson<Job>('POST', '/api/v1/chats/import', init)))
    const made = all.filter(({ status }) => status === 201)
    expect(new Set(made.map(({ data }) => data.id)).size).toBe(1)
    expect((await rowsOf(person))[0]).toBe(1)
  })

  it('that was never made a chat is forgotten by its object', async () => {
    const chat = new TestChat(world, me, newId(Date.now()), agentId)
    const { messages, active_leaf } = ownFile()
    const planted = { messages, title: null, leaf: active_leaf, agent_id: agentId, user_id: me.user.id }
    const told = await chat.inObject((object) => object.tell(chat.ids, 'plant', planted as never))
    expect(told).toMatchObject({ value: { log_seq: 9 } })
    expect(await stored(chat)).toBeGreaterThan(0)
    expect((await chat.read()).status).toBe(404)
    await chat.inObject(async (object, state) => {
      state.storage.sql.exec('update alarms set due = 0')
      await object.alarm()
    })
    expect(await stored(chat)).toBe(0)
    // A chat that there is, is never begun anew.
    const real = await taken(ownFile())
    const again = await real.inObject((object) => object.tell(real.ids, 'plant', planted as never))
    expect(again).toMatchObject({ refusal: { code: 'conflict' } })
    expect((await exported(real)).messages).toHaveLength(5)
  })
})

const stored = (chat: TestChat) =>
  chat.inObject(
    (_, state) =>
      state.storage.sql.exec(`select name from sqlite_master where name = 'messages'`).toArray().length,
  )

/** How many chats and lines of search a person has. */
async function rowsOf(person: Person): Promise<number[]> {
  const chats = await env.DB.prepare('select count(*) as n from chats where tenant_id = ? and user_id = ?')
    .bind(world.tenant.id, person.user.id)
    .first<number>('n')
  const lines = await env.DB.prepare('select count(*) as n from chat_finders where subject = ?')
    .bind(`user:${person.user.id}`)
    .first<number>('n')
  return [Number(chats), Number(lines)]
}
