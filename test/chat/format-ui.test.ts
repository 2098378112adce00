import {
  AbstractChat,
  type ChatState,
  DefaultChatTransport,
  readUIMessageStream,
  type UIMessage,
  type UIMessageChunk,
} from 'ai'
import { describe, expect, it } from 'vitest'
import { tellingOf } from '../../src/domains/chat/room/formats/tell'
import { frameOf } from '../../src/domains/chat/room/log/protocol'
import { upload } from '../files/kit'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld } from '../world'
import { chatWith, eventually, gatedChat, sleep, type TestChat } from './kit'

// The AI SDK’s own client, unchanged: its transport reads every frame by its own schemas, its chat folds them.

type Message = UIMessage<{ run_id?: string; parent_id?: string; finish?: string; usage?: object }>

const echo = { name: 'Echo', kind: 'echo' }

function transportOf(chat: TestChat, token = chat.person.token, bodies: unknown[] = []) {
  return new DefaultChatTransport<Message>({
    api: `${chat.path}/messages?format=ui`,
    prepareReconnectToStreamRequest: ({ id }) => ({ api: `/api/v1/chats/${id}/stream?format=ui` }),
    fetch: async (url, init) => {
      bodies.push(init?.body === undefined ? null : JSON.parse(String(init.body)))
      const headers = Object.fromEntries(new Headers(init?.headers))
      const raw = (init?.body as string | undefined) ?? undefined
      const answer = await call(init?.method ?? 'GET', String(url), {
        token,
        headers,
        ...(raw === undefined ? {} : { raw }),
      })
      if (answer.status === 200) expect(answer.headers.get('x-vercel-ai-ui-message-stream')).toBe('v1')
      return answer
    },
  })
}

/** What `useChat` keeps, without React. */
class State implements ChatState<Message> {
  status: ChatState<Message>['status'] = 'ready'
  error: Error | undefined
  messages: Message[] = []
  pushMessage = (message: Message) => void this.messages.push(message)
  popMessage = () => void this.messages.pop()
  replaceMessage = (at: number, message: Message) =>
    void this.messages.splice(at, 1, structuredClone(message))
  snapshot = <T>(thing: T): T => structuredClone(thing)
}

class Client extends AbstractChat<Message> {
  readonly told: { type: string; data: unknown }[]
  readonly finished: { isError: boolean; isDisconnect: boolean; finishReason?: string | undefined }[]

  constructor(
    chat: TestChat,
    token = chat.person.token,
    readonly bodies: unknown[] = [],
  ) {
    const told: Client['told'] = []
    const finished: Client['finished'] = []
    super({
      id: chat.id,
      state: new State(),
      transport: transportOf(chat, token, bodies),
      onData: ({ type, data }) => void told.push({ type, data }),
      onFinish: ({ isError, isDisconnect, finishReason }) =>
        void finished.push({ isError, isDisconnect, finishReason }),
    })
    this.told = told
    this.finished = finished
  }

  get texts() {
    return this.messages.map(({ role, parts }) => `${role}: ${textOf(parts)}`)
  }
}

const textOf = (parts: Message['parts']) =>
  parts.flatMap((part) => (part.type === 'text' ? part.text : [])).join('|')

async function all(stream: ReadableStream<UIMessageChunk>): Promise<UIMessageChunk[]> {
  const chunks: UIMessageChunk[] = []
  for await (const chunk of stream as unknown as AsyncIterable<UIMessageChunk>) chunks.push(chunk)
  return chunks
}

const user = (text: string, id = crypto.randomUUID().slice(0, 16)): Message => ({
  id,
  role: 'user',
  parts: [{ type: 'text', text }],
})

const submit = { trigger: 'submit-message', messageId: undefined, abortSignal: undefined } as const

describe('a run in the AI SDK’s words', () => {
  it('is every part in order, each as its schema has it', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const sent = { chatId: chat.id, messages: [user('one two "three" \u{1f980}\n')], ...submit }
    const chunks = await all(await transportOf(chat).sendMessages(sent))
    const { data } = await chat.read()
    const [question, answer] = data.messages
    const types = chunks.map(({ type }) => type).filter((type, i, list) => type !== list[i - 1])
    expect(types).toEqual([
      ...['start', 'start-step', 'text-start', 'text-delta', 'data-title'],
      ...['text-end', 'finish-step', 'finish'],
    ])
    expect(chunks[0]).toEqual({
      type: 'start',
      messageId: answer?.id,
      messageMetadata: { run_id: answer?.run_id, parent_id: question?.id },
    })
    const text = chunks.flatMap((chunk) => (chunk.type === 'text-delta' ? chunk.delta : [])).join('')
    expect(text).toBe('one two "three" \u{1f980}\n')
    expect(answer?.content).toBe(text)
    expect(chunks.at(-1)).toMatchObject({
      type: 'finish',
      finishReason: 'stop',
      messageMetadata: { run_id: answer?.run_id, finish: 'stop', usage: { prompt_tokens: null } },
    })
    expect(question?.metadata.client_message_id).toBe(sent.messages[0]?.id)
  })

  it('ends as the documents say, in events of at most 4 KiB, whatever the answer has', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const text = '"\\\n\u0001é\u{1f980}'.repeat(3000)
    const answer = await call('POST', `${chat.path}/messages?format=ui`, {
      token: chat.person.token,
      body: { messages: [user(text)] },
    })
    const wire = await answer.text()
    const events = wire.split('\n\n').filter((event) => event !== '' && !event.startsWith(':'))
    for (const event of events) expect(new TextEncoder().encode(event).byteLength).toBeLessThanOrEqual(4094)
    expect(events.every((event) => event.startsWith('data: '))).toBe(true)
    expect(events.at(-1)).toBe('data: [DONE]')
    const said = events.slice(0, -1).map((event) => JSON.parse(event.slice(6)))
    expect(said.flatMap(({ delta }) => delta ?? []).join('')).toBe(text)
  })

  it('tells of tools that the agent calls, each in its place between texts', async () => {
    const { chat, gate } = await gatedChat()
    const client = new Client(chat)
    const sending = client.sendMessage({ text: 'What is the weather?' })
    const part = (value: object) => gate.raw(`data: ${JSON.stringify(value)}\n\n`)
    await part({ type: 'text-delta', id: '0', delta: 'Let me look. ' })
    await part({
      type: 'tool-input-available',
      toolCallId: 'c1',
      toolName: 'weather',
      input: { city: 'Oslo' },
    })
    await part({ type: 'tool-output-available', toolCallId: 'c1', output: { degrees: 7 } })
    await part({ type: 'tool-input-available', toolCallId: 'c2', toolName: 'wind', input: {} })
    await part({ type: 'tool-output-error', toolCallId: 'c2', errorText: 'no wind' })
    await part({ type: 'text-delta', id: '1', delta: 'Seven degrees.' })
    await gate.raw('data: [DONE]\n\n')
    await sending
    const parts = client.messages.at(-1)?.parts.filter(({ type }) => type !== 'step-start')
    expect(parts).toMatchObject([
      { type: 'text', text: 'Let me look. ', state: 'done' },
      {
        type: 'dynamic-tool',
        toolName: 'weather',
        toolCallId: 'c1',
        state: 'output-available',
        input: { city: 'Oslo' },
        output: { degrees: 7 },
        providerExecuted: true,
      },
      { type: 'dynamic-tool', toolCallId: 'c2', state: 'output-error', errorText: 'no wind' },
      { type: 'text', text: 'Seven degrees.', state: 'done' },
    ])
    expect(client.status).toBe('ready')
  })

  it('says what goes wrong as an error, and keeps what had come', async () => {
    const { chat, gate } = await gatedChat()
    const client = new Client(chat)
    const sending = client.sendMessage({ text: 'Hello' })
    await gate.say('Half an ')
    await gate.reset()
    await sending
    expect(client.status).toBe('error')
    expect(client.error?.message).toContain('broke off')
    expect(client.texts).toEqual(['user: Hello', 'assistant: Half an '])
  })

  it('says that it was stopped', async () => {
    const { chat, gate } = await gatedChat()
    const client = new Client(chat)
    const sending = client.sendMessage({ text: 'Hello' })
    await gate.say('Half an ')
    await eventually(() => client.texts.length === 2)
    await chat.stop()
    await sending
    expect(client.messages.at(-1)?.metadata).toMatchObject({ finish: 'stopped' })
    expect(client.finished).toMatchObject([{ isError: false, isDisconnect: false, finishReason: 'other' }])
  })

  it('tells of the moment by data that is kept in no message', async () => {
    const { chat, gate } = await gatedChat()
    const client = new Client(chat)
    const sending = client.sendMessage({ text: 'A title of its own' })
    await gate.say('Hi')
    await gate.end()
    await sending
    expect(client.told.map(({ type }) => type)).toEqual(['data-status', 'data-title'])
    expect(client.told[1]?.data).toEqual({ title: 'A title of its own' })
    expect(client.messages.at(-1)?.parts.map(({ type }) => type)).toEqual(['step-start', 'text'])
  })
})

describe('the AI SDK’s chat', () => {
  it('goes on from message to message', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const client = new Client(chat)
    await client.sendMessage({ text: 'one' })
    await client.sendMessage({ text: 'two' })
    expect(client.texts).toEqual(['user: one', 'assistant: one', 'user: two', 'assistant: two'])
    const { data } = await chat.read()
    expect(data.messages.map(({ role, content }) => `${role}: ${content}`)).toEqual(client.texts)
    expect(client.messages[3]?.id).toBe(data.messages[3]?.id)
    // What its transport posts by itself is what the route takes.
    expect(client.bodies[1]).toMatchObject({ id: chat.id, trigger: 'submit-message' })
  })

  it('sent again, it is the same run', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const sent = { chatId: chat.id, messages: [user('one')], ...submit }
    const first = await all(await transportOf(chat).sendMessages(sent))
    const again = await all(await transportOf(chat).sendMessages(sent))
    expect(again).toEqual(first)
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('has an answer given anew', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const client = new Client(chat)
    await client.sendMessage({ text: 'one' })
    const first = client.messages[1]?.id
    await client.regenerate()
    expect(client.texts).toEqual(['user: one', 'assistant: one'])
    const { data } = await chat.read()
    expect(data.messages.map(({ id }) => id)).toEqual([data.messages[0]?.id, client.messages[1]?.id])
    expect(client.messages[1]?.id).not.toBe(first)
    await client.regenerate({ messageId: client.messages[1]?.id ?? '' })
    const third = await chat.read()
    expect(third.data.messages[1]?.id).toBe(client.messages[1]?.id)
    expect(third.data.messages[0]?.id).toBe(data.messages[0]?.id)
  })

  it('has a message said differently, and that answered anew', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const client = new Client(chat)
    await client.sendMessage({ text: 'one' })
    await client.sendMessage({ text: 'two' })
    const asked = client.messages[2]?.id ?? ''
    await client.sendMessage({ text: 'zwei', messageId: asked })
    expect(client.texts).toEqual(['user: one', 'assistant: one', 'user: zwei', 'assistant: zwei'])
    const shown = async () =>
      (await chat.read()).data.messages.map(({ role, content }) => `${role}: ${content}`)
    expect(await shown()).toEqual(client.texts)
    // The client knows the message by the name that it gave to the first; what is meant is what is shown.
    await client.regenerate()
    expect(await shown()).toEqual(client.texts)
    expect(client.texts.at(-1)).toBe('assistant: zwei')
  })

  it('sends what never arrived when it is asked for again', async () => {
    const { chat, gate } = await gatedChat()
    const busy = await chat.send('busy')
    const client = new Client(chat)
    await client.sendMessage({ text: 'meanwhile' })
    expect(client.status).toBe('error')
    expect(client.error?.message).toContain('run_in_progress')
    await gate.say('done')
    await gate.end()
    await busy.rest()
    const sending = client.regenerate()
    await gate.say('now')
    await gate.end()
    await sending
    expect(client.texts).toEqual(['user: meanwhile', 'assistant: now'])
    expect((await chat.read()).data.messages.map(({ content }) => content)).toEqual([
      ...['busy', 'done', 'meanwhile', 'now'],
    ])
  })

  it('sends the files that its parts show, once they are attached', async () => {
    const world = await makeWorld({ plan: 'enterprise' })
    const chat = await chatWith(world, echo)
    const file = await upload(chat.person, '{}', { content_type: 'application/json' })
    const attached = await callJson<{ url: string; name: string }>(
      'PUT',
      `${chat.path}/attachments/${file.id}`,
      { token: chat.person.token },
    )
    expect(attached.status).toBe(200)
    const client = new Client(chat)
    const { url } = attached.data
    await client.sendMessage({ text: 'See', files: [{ type: 'file', mediaType: 'application/json', url }] })
    const [question] = (await chat.read()).data.messages as unknown as { attachments: { id: string }[] }[]
    expect(question?.attachments.map(({ id }) => id)).toEqual([file.id])
    expect(client.texts).toEqual(['user: See', expect.stringContaining('assistant: See')])
    // Said differently it has the files that it shows then; where it shows none, those that it had.
    const other = await upload(chat.person, '[]', { content_type: 'application/json' })
    const put = await callJson<{ url: string }>('PUT', `${chat.path}/attachments/${other.id}`, {
      token: chat.person.token,
    })
    const edit = async (files: { type: 'file'; mediaType: string; url: string }[]) => {
      const messageId = client.messages[0]?.id ?? ''
      await client.sendMessage({ text: 'See that', files, messageId })
      const [shown] = (await chat.read()).data.messages as unknown as { attachments: { id: string }[] }[]
      return shown?.attachments.map(({ id }) => id)
    }
    expect(await edit([{ type: 'file', mediaType: 'application/json', url: put.data.url }])).toEqual([
      other.id,
    ])
    expect(await edit([])).toEqual([other.id])
  })
})

describe('resuming', () => {
  it('goes on in a page that has loaded the chat, the beginning of the answer included', async () => {
    const { chat, gate } = await gatedChat()
    const first = new Client(chat)
    const sending = first.sendMessage({ text: 'Go on' })
    await gate.say('One ')
    const loaded = await eventually(async () => {
      const { messages } = (await chat.read()).data
      return messages.at(-1)?.content === 'One ' ? messages : null
    })
    const page = new Client(chat)
    page.messages = loaded.map(({ id, role, content }) => ({
      ...{ id, role },
      parts: [{ type: 'text' as const, text: content }],
    })) as Message[]
    const resumed = page.resumeStream()
    await eventually(() => page.status === 'streaming')
    await gate.say('two')
    await gate.end()
    await Promise.all([sending, resumed])
    expect(page.texts).toEqual(['user: Go on', 'assistant: One two'])
  })

  it('is the run that goes on, from its beginning, in another tab too', async () => {
    const { chat, gate } = await gatedChat()
    const first = new Client(chat)
    const sending = first.sendMessage({ text: 'Hello' })
    await gate.say('one ', 'two ')
    await eventually(() => first.texts[1] === 'assistant: one two ')
    const second = new Client(chat)
    second.messages = [...first.messages.slice(0, 1)]
    const resuming = second.resumeStream()
    await eventually(() => second.texts[1] === 'assistant: one two ')
    await gate.say('three')
    await gate.end()
    await Promise.all([sending, resuming])
    expect(second.texts).toEqual(['user: Hello', 'assistant: one two three'])
    expect(second.messages[1]).toEqual(first.messages[1])
  })

  it('goes on after the connection broke, without a word twice', async () => {
    const { chat, gate } = await gatedChat()
    const client = new Client(chat)
    const sending = client.sendMessage({ text: 'Hello' })
    await gate.say('one ')
    await eventually(() => client.texts[1] === 'assistant: one ')
    await client.stop()
    await sending
    const resuming = client.resumeStream()
    await gate.say('two')
    await eventually(() => client.texts[1] === 'assistant: one two')
    await gate.end()
    await resuming
    expect(client.texts).toEqual(['user: Hello', 'assistant: one two'])
  })

  it('is nothing where no run goes on', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const client = new Client(chat)
    await client.resumeStream()
    expect(client.texts).toEqual([])
    await client.sendMessage({ text: 'one' })
    const answer = await call('GET', `${chat.path}/stream?format=ui`, { token: chat.person.token })
    expect([answer.status, await answer.text()]).toEqual([204, ''])
    // A stream that there is not is a request, or it could be asked for without end.
    const left = async () =>
      Number(
        (await call('GET', `${chat.path}/stream?format=ui`, chat.person)).headers.get(
          'X-RateLimit-Remaining',
        ),
      )
    const before = await left()
    expect(await left()).toBe(before - 1)
    expect(await transportOf(chat).reconnectToStream({ chatId: chat.id })).toBeNull()
  })

  it('is for who may read the chat, and ends for who may no more', async () => {
    const { chat, gate } = await gatedChat()
    const { token } = await chat.world.viewer
    const sending = new Client(chat).sendMessage({ text: 'Hello' })
    await gate.say('one ')
    const stranger = await makeWorld()
    for (const other of [token, stranger.admin.token])
      await expectError(call('GET', `${chat.path}/stream?format=ui`, { token: other }), 'not_found')
    await call('PUT', `${chat.path}/shares`, {
      token: chat.person.token,
      body: { user_id: chat.world.viewer.user.id, role: 'viewer' },
    })
    const reader = new Client(chat, token)
    const following = reader.resumeStream()
    await eventually(() => reader.texts[0] === 'assistant: one ')
    await call('DELETE', `${chat.path}/shares`, { token: chat.person.token })
    await sleep(5200)
    await gate.say('secret')
    await gate.end()
    await Promise.all([sending, following])
    expect(reader.texts).toEqual(['assistant: one '])
  }, 20_000)

  it('is one of the streams that the tenant has open', async () => {
    const world = await makeWorld({ rate_limits: { open_streams: 1 } })
    const { chat, gate } = await gatedChat(world)
    const sending = new Client(chat).sendMessage({ text: 'Hello' })
    await gate.say('one ')
    const path = `${chat.path}/stream?format=ui`
    const first = await call('GET', path, { token: chat.person.token })
    expect(first.status).toBe(200)
    await expectError(call('GET', path, { token: chat.person.token }), 'rate_limited')
    await first.body?.cancel()
    const again = await eventually(async () => {
      const answer = await call('GET', path, { token: chat.person.token })
      if (answer.status !== 200) await answer.text()
      return answer.status === 200 ? answer : null
    })
    await gate.end()
    await again.text()
    await sending
  })
})

describe('what is no request of that client', () => {
  const refused = async (body: unknown) => {
    const chat = await chatWith(await makeWorld(), echo)
    const path = `${chat.path}/messages?format=ui`
    const error = await expectError(
      call('POST', path, { token: chat.person.token, body }),
      'validation_failed',
    )
    expect((await chat.read()).data.messages).toEqual([])
    return error.details.fields
  }

  it('is refused by the name of what is wrong', async () => {
    expect(await refused({ messages: [] })).toEqual({ messages: 'must end with the message of a user' })
    expect(await refused({ messages: [{ ...user('x'), role: 'assistant' }] })).toHaveProperty(['messages.0'])
    expect(await refused({ messages: [user('a'), user(' ')] })).toEqual({
      'messages.1.parts': 'must not be empty',
    })
    expect(await refused({ messages: [{ id: 'a', role: 'user', content: 'x' }] })).toHaveProperty([
      'messages.0.parts',
    ])
    expect(await refused({ message: { ...user('x'), id: '' } })).toHaveProperty(['message.id'])
    const file = { type: 'file', mediaType: 'image/png', url: 'data:image/png;base64,AA==' }
    expect(await refused({ messages: [{ ...user('x'), parts: [...user('x').parts, file] }] })).toEqual({
      'messages.0.parts.1.url': 'must be the url of a file that was attached to the chat before',
    })
    expect(await refused({ trigger: 'regenerate-message', messages: [] })).toHaveProperty(['messageId'])
    expect(await refused({ trigger: 'delete', messages: [user('x')] })).toEqual({
      trigger: 'must be submit-message or regenerate-message',
    })
  })

  it('puts no message of a user beside an answer, and says nothing twice', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const client = new Client(chat)
    await client.sendMessage({ text: 'One' })
    const [question, answer] = (await chat.read()).data.messages
    const token = chat.person.token
    const path = `${chat.path}/messages?format=ui`
    const body = { messageId: answer?.id, message: user('Two') }
    const error = await expectError(call('POST', path, { token, body }), 'validation_failed')
    expect(error.details.fields).toEqual({ message_id: 'must be of a message of a user' })
    // A page that was loaded again has the chat's own ids.
    const again = new Client(chat)
    again.messages = [{ ...user('One'), id: question?.id ?? '' }]
    await again.sendMessage()
    expect(again.texts).toEqual(['user: One', 'assistant: One'])
    const all = await callJson<{ role: string; parent_id: string | null }[]>('GET', `${chat.path}/messages`, {
      token,
    })
    expect(all.data.map(({ role, parent_id }) => [role, parent_id])).toEqual([
      ['user', null],
      ['assistant', question?.id],
      ['assistant', question?.id],
    ])
  })

  it('names a message that is not there', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const body = { trigger: 'regenerate-message', messageId: 'nobody', messages: [] }
    const asked = call('POST', `${chat.path}/messages?format=ui`, { token: chat.person.token, body })
    expect((await expectError(asked, 'not_found')).message).toContain('nobody')
    const wrong = call('GET', `${chat.path}/stream?format=xml`, { token: chat.person.token })
    expect((await expectError(wrong, 'validation_failed')).details.fields).toEqual({
      format: 'must be ui, or not be sent',
    })
  })

  it('takes only the last message, as its documents advise, and as many as it likes', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const long = Array.from({ length: 40 }, () => user('x'.repeat(60_000)))
    const path = `${chat.path}/messages?format=ui`
    for (const body of [{ message: user('one') }, { messages: [...long, user('two')], extra: 1 }]) {
      const answer = await call('POST', path, { token: chat.person.token, body })
      expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('"finish"')])
    }
    expect((await chat.read()).data.messages.map(({ content }) => content)).toEqual([
      ...['one', 'one', 'two', 'two'],
    ])
  })
})

describe('a telling', () => {
  const run = { id: 'r', message_id: 'q', answer_id: 'a', agent_id: 'g', started_at: 0 }
  const text = frameOf('e1-1', 'message', { content: 'Hi "you"' })

  it('prints a frame once for all that are told it', () => {
    for (const format of ['events', 'ui', 'openai', 'openai+usage'] as const) {
      const [one, other] = [tellingOf(format, run), tellingOf(format, run)]
      expect([format, one.of(text).at(-1) === other.of(text).at(-1)]).toEqual([format, true])
      expect(one.of(text).at(-1)).not.toBe(
        tellingOf(format === 'ui' ? 'events' : 'ui', run)
          .of(text)
          .at(-1),
      )
    }
  })

  it('goes on where a frame was refused as if it had not been asked', () => {
    const ui = tellingOf('ui', run)
    expect(ui.of(text)).toHaveLength(2)
    expect(ui.of(text)).toHaveLength(2)
    ui.told(text)
    expect(ui.of(text)).toHaveLength(1)
  })

  it('tells of a result whose call was never told', () => {
    const ui = tellingOf('ui', run)
    const result = frameOf('e1-2', 'tool', { id: 'c', name: 'search', status: 'result', result: '{"n":1}' })
    const said = ui.of(result).map((bytes) => JSON.parse(new TextDecoder().decode(bytes).slice(6)))
    expect(said).toEqual([
      {
        ...{ type: 'tool-input-available', toolCallId: 'c', providerExecuted: true, dynamic: true },
        ...{ toolName: 'search', input: null },
      },
      {
        ...{ type: 'tool-output-available', toolCallId: 'c', providerExecuted: true, dynamic: true },
        output: { n: 1 },
      },
    ])
    ui.told(result)
    expect(ui.of(result)).toHaveLength(1)
  })
})

it('a reader that is slow is told all of it too', async () => {
  const chat = await chatWith(await makeWorld(), echo)
  // Six bytes a character: far more than a queue holds.
  const text = '\u0001\u0002\u0003\u0004 '.repeat(25_000)
  const body = { messages: [user(text)] }
  const answer = await call('POST', `${chat.path}/messages?format=ui`, { token: chat.person.token, body })
  await eventually(async () => (await chat.read()).data.messages[1]?.status === 'complete', 15_000)
  const events = (await answer.text()).split('\n\n').filter((event) => event.startsWith('data: {'))
  const said = events.map((event) => JSON.parse(event.slice(6)) as { type: string; delta?: string })
  expect(said.map(({ delta }) => delta ?? '').join('')).toBe(text)
  expect(said.filter(({ type }) => type === 'text-start')).toHaveLength(1)
  expect(said.at(-1)?.type).toBe('finish')
}, 30_000)

it('readUIMessageStream makes the same message of it', async () => {
  const chat = await chatWith(await makeWorld(), echo)
  const stream = await transportOf(chat).sendMessages({
    chatId: chat.id,
    messages: [user('a b c')],
    ...submit,
  })
  let last: Message | undefined
  for await (const message of readUIMessageStream<Message>({ stream: stream as never })) last = message
  expect(textOf(last?.parts ?? [])).toBe('a b c')
})
