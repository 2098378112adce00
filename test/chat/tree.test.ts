import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { newId } from '../../src/lib/ids'
import { call, callJson, makeWorld } from '../world'
import { chatWith, type Event, EventReader, eventually, gatedChat, type ReadChat, type TestChat } from './kit'

type Siblings = { position: number; count: number; previous_id: string | null; next_id: string | null }
type Msg = ReadChat['messages'][number] & {
  siblings?: Siblings
  children?: string[]
  is_active?: boolean
  feedback?: unknown[]
  timestamp: string
}
type Exchange = { run_id: string | null; finish: string | null; messages: Msg[]; usage: unknown }

const echo = { name: 'Echo', kind: 'echo' }
const json = { Accept: 'application/json' }

const echoing = async () => chatWith(await makeWorld(), echo)

async function say(chat: TestChat, content: string, more: Record<string, unknown> = {}): Promise<Msg[]> {
  const { status, data, error } = await callJson<Exchange>('POST', `${chat.path}/messages`, {
    token: chat.person.token,
    body: { content, ...more },
    headers: json,
  })
  if (status !== 200) throw new Error(JSON.stringify(error))
  return data.messages
}

const edit = (chat: TestChat, id: string, body: Record<string, unknown>, token = chat.person.token) =>
  callJson<Exchange>('PATCH', `${chat.path}/messages/${id}`, { token, body, headers: json })

const again = (chat: TestChat, id: string, body: Record<string, unknown> = {}, token = chat.person.token) =>
  callJson<Exchange>('POST', `${chat.path}/messages/${id}/regenerate`, { token, body, headers: json })

const choose = (chat: TestChat, id: string, token = chat.person.token) =>
  callJson<{ message_id: string }>('PUT', `${chat.path}/active_leaf`, { token, body: { message_id: id } })

const rate = (chat: TestChat, body: Record<string, unknown>, token = chat.person.token) =>
  callJson<Record<string, unknown>>('POST', `${chat.path}/feedback`, { token, body })

const shown = async (chat: TestChat) => (await chat.read()).data.messages as Msg[]
const texts = (messages: { content: string }[]) => messages.map(({ content }) => content)

async function tree(chat: TestChat, limit = 100): Promise<Msg[]> {
  const all: Msg[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query: string = `?limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`
    const page = await callJson<Msg[]>('GET', `${chat.path}/messages${query}`, { token: chat.person.token })
    if (page.status !== 200) throw new Error(JSON.stringify(page.error))
    all.push(...page.data)
    cursor = page.meta.next_cursor as string | null
  }
  return all
}

describe('another answer', () => {
  it('stands beside the first, and is shown', async () => {
    const chat = await echoing()
    const [question, first] = (await say(chat, 'one')) as [Msg, Msg]
    const { status, data } = await again(chat, first.id)
    expect(status).toBe(200)
    const [asked, second] = data.messages as [Msg, Msg]
    expect(asked.id).toBe(question.id)
    expect(second).toMatchObject({ parent_id: question.id, content: 'one', status: 'complete' })
    expect(second.id).not.toBe(first.id)
    expect(await shown(chat)).toMatchObject([
      { id: question.id },
      {
        id: second.id,
        siblings: { position: 2, count: 2, previous_id: first.id, next_id: null },
      },
    ])
    expect((await shown(chat))[0]).not.toHaveProperty('siblings')
  })

  it('is given to the question too, and streams like any', async () => {
    const chat = await echoing()
    const [question] = (await say(chat, 'two words')) as [Msg, Msg]
    const follower = await chat.follow()
    await follower.next()
    const answer = await call('POST', `${chat.path}/messages/${question.id}/regenerate`, {
      token: chat.person.token,
    })
    expect(answer.headers.get('Content-Type')).toContain('text/event-stream')
    const events = await new EventReader(answer.body).rest()
    expect(events.map(({ type }) => type).filter((type, i, all) => type !== all[i - 1])).toEqual([
      'message',
      'done',
    ])
    const created = await follower.next()
    expect(created).toMatchObject({
      type: 'message.created',
      data: { parent_id: question.id, role: 'assistant', status: 'streaming' },
    })
    expect(created?.data.id).toBe(events.at(-1)?.data.message_id)
    await follower.until('done')
    await follower.leave()
  })

  it('begins without being waited for, and only once for one client_message_id', async () => {
    const chat = await echoing()
    const [, first] = (await say(chat, 'x')) as [Msg, Msg]
    const started = await callJson<{ run_id: string; message_id: string }>(
      ...([
        'POST',
        `${chat.path}/messages/${first.id}/regenerate`,
        {
          token: chat.person.token,
          body: { client_message_id: 'again-1' },
          headers: { Prefer: 'respond-async' },
        },
      ] as const),
    )
    expect(started.status).toBe(202)
    const repeated = await again(chat, first.id, { client_message_id: 'again-1' })
    expect(repeated.data.run_id).toBe(started.data.run_id)
    expect(repeated.headers.get('Idempotency-Replayed')).toBe('true')
    const other = await again(chat, (await shown(chat))[0]?.id ?? '', { client_message_id: 'again-1' })
    expect(other).toMatchObject({ status: 422, error: { code: 'idempotency_key_reused' } })
    const sent = await chat.post({ content: 'x', client_message_id: 'again-1' })
    expect(sent.status).toBe(422)
    expect(await tree(chat)).toHaveLength(3)
  })

  it('is told what was said before its question and nothing after', async () => {
    const { chat, gate } = await gatedChat()
    const talk = async (order: () => Promise<{ text(): Promise<string> }>) => {
      const answer = order()
      await gate.say('answer')
      await gate.end()
      await (await answer).text()
    }
    await talk(() => chat.post({ content: 'first' }))
    await talk(() => chat.post({ content: 'second' }))
    const before = await shown(chat)
    const url = `${chat.path}/messages/${before[1]?.id}/regenerate`
    await talk(() => call('POST', url, { token: chat.person.token, body: {} }))
    const requests = await fetch(`${env.RECEIVER_URL}/upstream/requests/${gate.key}`)
    const seen = (await requests.json()) as { body: string }[]
    expect(seen.map(({ body }) => texts(JSON.parse(body).messages))).toEqual([
      ['first'],
      ['first', 'answer', 'second'],
      ['first'],
    ])
  })

  it('is refused of what is no answer, of none that there is, and while another goes on', async () => {
    const { chat, gate } = await gatedChat()
    expect(await again(chat, newId(Date.now()))).toMatchObject({ status: 404, error: { code: 'not_found' } })
    const sender = await chat.send('go')
    await gate.say('a')
    const [question, answer] = (await shown(chat)) as [Msg, Msg]
    for (const { id } of [question, answer])
      expect(await again(chat, id)).toMatchObject({ status: 409, error: { code: 'run_in_progress' } })
    expect(await choose(chat, question.id)).toMatchObject({ status: 200, data: { message_id: answer.id } })
    expect(await edit(chat, answer.id, { content: 'x', in_place: true })).toMatchObject({
      status: 409,
      error: { code: 'run_in_progress' },
    })
    await gate.end()
    await sender.rest()
    expect(texts(await shown(chat))).toEqual(['go', 'a'])
  })
})

describe('an edited message', () => {
  it('of a user is a sibling with an answer of its own', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'tpyo')) as [Msg, Msg]
    await say(chat, 'more')
    const { status, data } = await edit(chat, question.id, { content: 'typo' })
    expect(status).toBe(200)
    expect(data).toMatchObject({
      finish: 'stop',
      messages: [
        { parent_id: null, role: 'user', content: 'typo' },
        { role: 'assistant', content: 'typo' },
      ],
    })
    expect(texts(await shown(chat))).toEqual(['typo', 'typo'])
    expect((await shown(chat))[0]?.siblings).toEqual({
      ...{ position: 2, count: 2, previous_id: question.id, next_id: null },
    })
    const all = await tree(chat)
    expect(texts(all)).toEqual(['tpyo', 'tpyo', 'more', 'more', 'typo', 'typo'])
    expect(all.find(({ id }) => id === question.id)).toMatchObject({
      is_active: false,
      children: [answer.id],
      siblings: { position: 1, count: 2, next_id: data.messages[0]?.id },
    })
    expect(all.filter(({ is_active }) => is_active).map(({ content }) => content)).toEqual(['typo', 'typo'])
  })

  it('of an agent is a sibling that nobody is asked for', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'x')) as [Msg, Msg]
    const body = { content: 'What it should have said', client_message_id: 'e1' }
    const { status, data } = await edit(chat, answer.id, body)
    expect(status).toBe(200)
    expect(data).toMatchObject({ run_id: null, finish: null, usage: null })
    expect(data.messages).toMatchObject([
      {
        ...{ parent_id: question.id, role: 'assistant', content: body.content, run_id: null },
        metadata: { edited_from: answer.id, edited_by: chat.person.user.id },
      },
    ])
    expect((await edit(chat, answer.id, body)).data).toEqual(data)
    const other = await edit(chat, answer.id, { ...body, content: 'Something else' })
    expect(other.error).toMatchObject({ code: 'idempotency_key_reused', status: 422 })
    expect(texts(await shown(chat))).toEqual(['x', body.content])
    expect(await tree(chat)).toHaveLength(3)
  })

  it('of an agent is one, whatever its repeat is named by', async () => {
    const chat = await echoing()
    const [, answer] = (await say(chat, 'x')) as [Msg, Msg]
    const once = (content: string) =>
      callJson<Exchange>('PATCH', `${chat.path}/messages/${answer.id}`, {
        ...{ token: chat.person.token, body: { content } },
        headers: { ...json, 'Idempotency-Key': 'edit-1' },
      })
    const { data } = await once('better')
    expect((await once('better')).data).toEqual(data)
    expect((await once('worse')).error).toMatchObject({ code: 'idempotency_key_reused', status: 422 })
    expect(texts(await tree(chat))).toEqual(['x', 'x', 'better'])
    // Another’s names are others, and words that change later make it no other message.
    const { admin } = chat.world
    const named = { content: 'best', client_message_id: 'edit-1' }
    expect((await edit(chat, answer.id, named, admin.token)).status).toBe(200)
    const [mine] = data.messages
    await edit(chat, mine?.id ?? '', { content: 'good', in_place: true }, admin.token)
    expect((await once('better')).data.messages).toMatchObject([{ id: mine?.id, content: 'good' }])
    expect(texts(await tree(chat))).toEqual(['x', 'x', 'good', 'best'])
  })

  it('changes where it stands when that is asked for, for all who follow', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'x')) as [Msg, Msg]
    const follower = await chat.follow()
    await follower.next()
    const long = 'ä"\n'.repeat(5_000)
    for (const [{ id }, content] of [
      [question, 'y'],
      [answer, long],
    ] as const) {
      const { status, data } = await edit(chat, id, { content, in_place: true })
      expect(status).toBe(200)
      expect(data.messages).toMatchObject([{ id, content, metadata: { edited_by: chat.person.user.id } }])
    }
    const short = await follower.next()
    expect(short).toMatchObject({ type: 'message.updated', data: { id: question.id, content: 'y' } })
    expect(short?.data).not.toHaveProperty('content_truncated')
    const cut = (await follower.next()) as Event
    expect(cut).toMatchObject({ type: 'message.updated', data: { id: answer.id, content_truncated: true } })
    expect(long.startsWith(cut.data.content as string)).toBe(true)
    expect((cut.data.content as string).length).toBeGreaterThan(1_000)
    expect(follower.longest).toBeLessThanOrEqual(4096)
    await follower.leave()
    expect(texts(await shown(chat))).toEqual(['y', long])
    expect((await chat.log()).slice(-2)).toMatchObject([
      { data: { content: 'y' } },
      { data: { content: long } },
    ])
    await chat.forget()
    expect(texts(await shown(chat))).toEqual(['y', long])
  })

  it('keeps its name when the question was changed in place meanwhile', async () => {
    const chat = await echoing()
    const [question] = (await say(chat, 'x', { client_message_id: 'c' })) as [Msg, Msg]
    await edit(chat, question.id, { content: 'y', in_place: true })
    expect((await say(chat, 'x', { client_message_id: 'c' }))[0]?.id).toBe(question.id)
    expect(await tree(chat)).toHaveLength(2)
  })

  it('names files of the chat alone, and only where it is answered anew', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'x')) as [Msg, Msg]
    const attachments = [newId(Date.now())]
    const notHere = { 'attachments.0': 'must be the id of a file that is attached to this chat' }
    const notThere = { attachments: 'must be left out where no agent is asked: the files stay' }
    for (const [id, more, fields] of [
      [question.id, {}, notHere],
      [question.id, { in_place: true }, notThere],
      [answer.id, {}, notThere],
    ] as const) {
      const { status, error } = await edit(chat, id, { content: 'y', attachments, ...more })
      expect([status, error?.details.fields]).toEqual([422, fields])
    }
    expect(await tree(chat)).toHaveLength(2)
  })

  it('is refused when it is empty, too long, or not there', async () => {
    const chat = await echoing()
    const [question] = (await say(chat, 'x')) as [Msg, Msg]
    for (const [id, body, status] of [
      [question.id, { content: '  ' }, 422],
      [question.id, { content: 'x'.repeat(128 * 1024 + 1) }, 422],
      [question.id, { content: 'x', in_place: 'yes' }, 422],
      [question.id, { content: 'x', role: 'user' }, 422],
      ['nonsense', { content: 'x' }, 422],
      [newId(Date.now()), { content: 'x' }, 404],
    ] as const)
      expect((await edit(chat, id, body)).status).toBe(status)
    expect(await tree(chat)).toHaveLength(2)
  })
})

describe('branches', () => {
  it('go on from any message', async () => {
    const chat = await echoing()
    const [, a] = (await say(chat, 'a')) as [Msg, Msg]
    await say(chat, 'b')
    await say(chat, 'c', { parent_id: a.id })
    expect(texts(await shown(chat))).toEqual(['a', 'a', 'c', 'c'])
    await say(chat, 'new', { parent_id: null })
    expect(texts(await shown(chat))).toEqual(['new', 'new'])
    const refused = await chat.post({ content: 'x', parent_id: newId(Date.now()) })
    expect(refused.status).toBe(422)
    expect(await refused.json()).toMatchObject({
      error: { details: { fields: { parent_id: expect.any(String) } } },
    })
  })

  it('are chosen by any of their messages, and shown to their newest end', async () => {
    const chat = await echoing()
    const [a1] = (await say(chat, 'a')) as [Msg, Msg]
    const [, b] = (await say(chat, 'b')) as [Msg, Msg]
    await edit(chat, a1.id, { content: 'other' })
    const follower = await chat.follow()
    await follower.next()
    expect(await choose(chat, a1.id)).toMatchObject({ status: 200, data: { message_id: b.id } })
    expect(texts(await shown(chat))).toEqual(['a', 'a', 'b', 'b'])
    expect(await follower.next()).toMatchObject({
      type: 'message.updated',
      data: { id: b.id, active_leaf: true },
    })
    const { length } = await chat.log()
    await choose(chat, b.id)
    expect(await chat.log()).toHaveLength(length)
    await say(chat, 'c')
    expect(texts(await shown(chat))).toEqual(['a', 'a', 'b', 'b', 'c', 'c'])
    await follower.leave()
    expect((await choose(chat, newId(Date.now()))).status).toBe(404)
  })

  it('are not changed while an answer is written', async () => {
    const { chat, gate } = await gatedChat()
    const one = await chat.send('one')
    await gate.say('1')
    await gate.end()
    await one.rest()
    const [question] = (await shown(chat)) as [Msg, Msg]
    const two = await call('PATCH', `${chat.path}/messages/${question.id}`, {
      token: chat.person.token,
      body: { content: 'two' },
    })
    const reader = new EventReader(two.body)
    await gate.say('2')
    await reader.until('message')
    expect(await choose(chat, question.id)).toMatchObject({ status: 409, error: { code: 'run_in_progress' } })
    await gate.end()
    await reader.rest()
    expect((await choose(chat, question.id)).status).toBe(200)
    expect(texts(await shown(chat))).toEqual(['one', '1'])
  })

  it('are listed page by page, each message once', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'a')) as [Msg, Msg]
    for (let i = 0; i < 4; i += 1) await again(chat, answer.id)
    const all = await tree(chat, 2)
    expect(all).toEqual(await tree(chat))
    expect(all.map(({ siblings }) => siblings?.position)).toEqual([1, 1, 2, 3, 4, 5])
    expect(all[0]?.children).toEqual(all.slice(1).map(({ id }) => id))
    expect(all[0]?.id).toBe(question.id)
    expect(all.map(({ is_active }) => is_active)).toEqual([true, false, false, false, false, true])
    const other = await chatWith(chat.world, echo)
    const page = await callJson('GET', `${chat.path}/messages?limit=2`, { token: chat.person.token })
    const stolen = `${other.path}/messages?cursor=${page.meta.next_cursor}`
    expect((await callJson('GET', stolen, { token: chat.person.token })).status).toBe(422)
    expect(await tree(other)).toEqual([])
  })

  it('end pages early where messages are long', async () => {
    const chat = await echoing()
    const long = 'x'.repeat(128 * 1024)
    const [question, answer] = (await say(chat, long)) as [Msg, Msg]
    for (let i = 0; i < 40; i += 1)
      await chat.inObject((object) => {
        const room = (object as unknown as { room: { log: { append: (...args: unknown[]) => void } } }).room
        const id = newId(Date.now())
        room.log.append(Date.now(), 'message.created', { ...answer, id, run_id: null, status: 'complete' })
      })
    const page = await callJson<Msg[]>('GET', `${chat.path}/messages?limit=100`, { token: chat.person.token })
    expect(page.data.length).toBe(32)
    expect(page.data[0]?.id).toBe(question.id)
    expect(await tree(chat)).toHaveLength(42)
  })
})

describe('what a socket may say of the tree', () => {
  it('is what the routes take', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'a')) as [Msg, Msg]
    const socket = (await chat.socket()).acknowledging()
    await socket.until('snapshot')
    socket.send('regenerate', { message_id: answer.id })
    await socket.until('done')
    socket.send('edit', { message_id: question.id, content: 'b' })
    await socket.until('done')
    expect(texts(await shown(chat))).toEqual(['b', 'b'])
    socket.send('edit', { message_id: answer.id, content: 'c', in_place: true })
    expect(await socket.until('message.updated')).toMatchObject({ data: { id: answer.id, content: 'c' } })
    socket.send('active_leaf', { message_id: answer.id })
    expect(await socket.until('message.updated')).toMatchObject({
      data: { id: answer.id, active_leaf: true },
    })
    expect(texts(await shown(chat))).toEqual(['a', 'c'])
    for (const [type, data, code] of [
      ['regenerate', {}, 'validation_failed'],
      ['edit', { message_id: answer.id }, 'validation_failed'],
      ['active_leaf', { message_id: newId(Date.now()) }, 'not_found'],
      ['regenerate', { message_id: newId(Date.now()) }, 'not_found'],
    ] as const) {
      socket.send(type, data)
      expect(await socket.until('error')).toMatchObject({ data: { code } })
    }
    socket.ws.close()
  })
})

describe('feedback', () => {
  it('is kept with the answer by who gave it, changed and taken back', async () => {
    const chat = await echoing()
    const [, answer] = (await say(chat, 'a')) as [Msg, Msg]
    const follower = await chat.follow()
    await follower.next()
    const user_id = chat.person.user.id
    const given = await rate(chat, { message_id: answer.id, rating: 'down', comment: 'No.' })
    expect(given).toMatchObject({ status: 200, data: { user_id, rating: 'down', comment: 'No.' } })
    expect(await follower.next()).toEqual({
      id: expect.any(String),
      type: 'message.updated',
      data: { id: answer.id, feedback: given.data },
    })
    expect((await shown(chat))[1]?.feedback).toEqual([given.data])
    expect(await rate(chat, { message_id: answer.id, rating: 'down', comment: 'No.' })).toMatchObject({
      data: given.data,
    })
    const { admin } = chat.world
    await rate(chat, { message_id: answer.id, rating: 'up' }, admin.token)
    const changed = await rate(chat, { message_id: answer.id, rating: 'up' })
    expect((await tree(chat))[1]?.feedback).toHaveLength(2)
    expect((await tree(chat))[1]?.feedback).toContainEqual(changed.data)
    const late = await chat.follow()
    const [, snapshotted] = (await late.until('snapshot')).data.messages as Msg[]
    expect(snapshotted?.feedback).toHaveLength(2)
    await late.leave()
    expect(await rate(chat, { message_id: answer.id, rating: null })).toMatchObject({
      status: 200,
      data: { rating: null, comment: null },
    })
    await rate(chat, { message_id: answer.id, rating: null }, admin.token)
    expect((await shown(chat))[1]).not.toHaveProperty('feedback')
    await follower.leave()
  })

  it('is announced once for each change', async () => {
    const chat = await echoing()
    const [, answer] = (await say(chat, 'a')) as [Msg, Msg]
    for (const rating of ['up', 'up', null]) await rate(chat, { message_id: answer.id, rating })
    const events = await eventually(async () => {
      const { data } = await callJson<{ data: Record<string, unknown> }[]>(
        ...(['GET', '/api/v1/events?type=chat.message.rated', { token: chat.world.admin.token }] as const),
      )
      return data.length >= 2 ? data : null
    })
    expect(events.map(({ data }) => data)).toEqual([
      ...([null, 'up'] as const).map((rating) => ({
        chat_id: chat.id,
        agent_id: chat.agentId,
        message_id: answer.id,
        run_id: answer.run_id,
        user_id: chat.person.user.id,
        rating,
        comment: null,
        timestamp: expect.any(String),
      })),
    ])
  })

  it('is of answers alone, and of the right form', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'a')) as [Msg, Msg]
    for (const [body, field] of [
      [{ message_id: question.id, rating: 'up' }, 'message_id'],
      [{ message_id: newId(Date.now()), rating: 'up' }, 'message_id'],
      [{ message_id: answer.id, rating: 'good' }, 'rating'],
      [{ message_id: answer.id }, 'rating'],
      [{ message_id: answer.id, rating: null, comment: 'x' }, 'comment'],
      [{ message_id: answer.id, rating: 'up', comment: 'x'.repeat(1001) }, 'comment'],
    ] as const) {
      const { status, error } = await rate(chat, body)
      expect(status).toBe(422)
      expect(Object.keys(error.details?.fields ?? {})).toEqual([field])
    }
    expect((await shown(chat))[1]).not.toHaveProperty('feedback')
  })

  it('fits into a snapshot, however many gave it and however long', async () => {
    const chat = await echoing()
    const [, answer] = (await say(chat, 'a')) as [Msg, Msg]
    await chat.inObject((object) => {
      const { room } = object as unknown as {
        room: { log: { append: (...args: unknown[]) => void } }
      }
      for (let i = 0; i < 60; i += 1) {
        const timestamp = new Date(Date.UTC(2026, 0, 1) + i).toISOString()
        const feedback = { user_id: newId(i), rating: 'up', comment: '"'.repeat(1000), timestamp }
        room.log.append(Date.now(), 'message.updated', { id: answer.id, feedback })
      }
    })
    const follower = await chat.follow()
    const snapshot = await follower.until('snapshot')
    const [, newest] = snapshot.data.messages as Msg[]
    expect(newest?.feedback).toHaveLength(8)
    expect(newest?.feedback?.[0]).toMatchObject({ comment: null, timestamp: '2026-01-01T00:00:00.059Z' })
    expect(follower.longest).toBeLessThanOrEqual(4096)
    await follower.leave()
    expect((await shown(chat))[1]?.feedback).toHaveLength(60)
  })
})

describe('an edit in place', () => {
  it('that is repeated under its name puts nothing back that was changed since', async () => {
    const chat = await echoing()
    const [, answer] = (await say(chat, 'a')) as [Msg, Msg]
    const named = { content: 'mine', in_place: true, client_message_id: 'edit-1' }
    expect((await edit(chat, answer.id, named)).data).toMatchObject({ messages: [{ content: 'mine' }] })
    await edit(chat, answer.id, { content: 'later', in_place: true })
    const repeated = await edit(chat, answer.id, named)
    expect([repeated.status, repeated.data]).toMatchObject([200, { messages: [{ content: 'later' }] }])
    expect(texts(await shown(chat))).toEqual(['a', 'later'])
    const other = await edit(chat, answer.id, { ...named, content: 'other' })
    expect([other.status, other.error.code]).toEqual([422, 'idempotency_key_reused'])
  })
})

describe('an archived chat', () => {
  it('takes no message and no edit until it is taken out again, and stays as it is', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'a')) as [Msg, Msg]
    const archive = (is_archived: boolean) =>
      callJson('PATCH', chat.path, { token: chat.person.token, body: { is_archived } })
    await archive(true)
    const refusals = [
      await callJson('POST', `${chat.path}/messages`, { token: chat.person.token, body: { content: 'b' } }),
      await again(chat, answer.id),
      await edit(chat, question.id, { content: 'b' }),
      await edit(chat, answer.id, { content: 'b' }),
      await edit(chat, answer.id, { content: 'b', in_place: true }),
    ]
    for (const { status, error } of refusals) {
      expect(status).toBe(409)
      expect(error.code).toBe('chat_archived')
      expect(error).toMatchObject({ recovery_hint: expect.stringContaining('is_archived') })
    }
    expect(texts(await shown(chat))).toEqual(['a', 'a'])
    await archive(false)
    await say(chat, 'b')
    expect(await tree(chat)).toHaveLength(4)
  })
})

describe('who may change a tree', () => {
  it('is an editor; others may read it, or not even that', async () => {
    const chat = await echoing()
    const [question, answer] = (await say(chat, 'a')) as [Msg, Msg]
    const { developer } = chat.world
    const tries = () => [
      again(chat, answer.id, {}, developer.token),
      edit(chat, question.id, { content: 'b' }, developer.token),
      edit(chat, answer.id, { content: 'b' }, developer.token),
      choose(chat, question.id, developer.token),
      rate(chat, { message_id: answer.id, rating: 'up' }, developer.token),
    ]
    for (const { status } of await Promise.all(tries())) expect(status).toBe(404)
    const share = (role: string) =>
      callJson('PUT', `${chat.path}/shares`, {
        token: chat.person.token,
        body: { user_id: developer.user.id, role },
      })
    await share('viewer')
    for (const { status, error } of await Promise.all(tries())) {
      expect(status).toBe(403)
      expect(error.code).toBe('chat_role_required')
    }
    const read = await callJson<Msg[]>('GET', `${chat.path}/messages`, { token: developer.token })
    expect(texts(read.data)).toEqual(['a', 'a'])
    await share('editor')
    expect((await rate(chat, { message_id: answer.id, rating: 'up' }, developer.token)).status).toBe(200)
  })
})

describe('fifty at once with one client_message_id', () => {
  it('make one run', async () => {
    const chat = await echoing()
    const [, first] = (await say(chat, 'a')) as [Msg, Msg]
    const sent = await Promise.all(
      Array.from({ length: 50 }, () => chat.post({ content: 'b', client_message_id: 'once' }, json)),
    )
    const bodies = await Promise.all(sent.map((one) => one.json() as Promise<{ data: Exchange }>))
    expect(new Set(bodies.map(({ data }) => data.run_id)).size).toBe(1)
    expect(sent.filter(({ headers }) => headers.get('Idempotency-Replayed') === null)).toHaveLength(1)
    const regenerated = await Promise.all(
      Array.from({ length: 8 }, () => again(chat, first.id, { client_message_id: 'twice' })),
    )
    expect(regenerated.map(({ status }) => status)).toEqual(regenerated.map(() => 200))
    expect(new Set(regenerated.map(({ data }) => data.run_id)).size).toBe(1)
    expect(await tree(chat)).toHaveLength(5)
  })
})
