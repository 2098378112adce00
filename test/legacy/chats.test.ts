import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { call, makeWorld } from '../world'

// The chat guide's own examples of agents and chats.

const json = async <T = Record<string, unknown>>(response: Response) => (await response.json()) as T
type Chat = Record<string, unknown> & { messages: { role: string; content: string; timestamp: string }[] }

async function makeChat() {
  const { admin, tenant } = await makeWorld()
  const token = admin.token
  const agent = await json(await call('POST', '/api/agents', { token, body: { name: 'Echo', kind: 'echo' } }))
  const chat = await json<Chat>(
    await call('POST', '/api/chats', {
      token,
      body: { agent_id: agent.id, title: 'Support Request', metadata: { tags: ['support'] } },
    }),
  )
  return { token, tenant, agent, chat }
}

const say = async (token: string, chatId: unknown, content: string) =>
  (await call('POST', `/api/chats/${chatId}/messages`, { token, body: { content } })).text()

describe('the chat guide’s /api/agents', () => {
  it('creates the guide’s agent, bare, with its team and a masked token', async () => {
    const { admin, tenant } = await makeWorld()
    const answer = await call('POST', '/api/agents', {
      token: admin.token,
      body: {
        name: 'Support Bot',
        description: 'Customer support assistant',
        webhook_url: `${env.RECEIVER_URL}/upstream/sse`,
        webhook_token: 'secret_token_123',
        system_prompt: 'You are a helpful customer support assistant.',
        config: { model: 'gpt-4', temperature: 0.7, max_tokens: 2000 },
      },
    })
    expect(answer.status).toBe(201)
    const agent = await json(answer)
    expect(agent).toMatchObject({
      team_id: tenant.id,
      created_by: admin.user.id,
      webhook_token: '********',
      config: { model: 'gpt-4', temperature: 0.7, max_tokens: 2000 },
      avatar: null,
      is_active: true,
    })
    const put = await call('PUT', `/api/agents/${agent.id}`, {
      token: admin.token,
      body: { name: 'Support Bot Updated', is_active: false, team_id: tenant.id },
    })
    expect(await json(put)).toMatchObject({ name: 'Support Bot Updated', is_active: false })
    const list = await json<unknown[]>(await call('GET', '/api/agents', { token: admin.token }))
    expect(list).toEqual([])
    const all = await json<unknown[]>(
      await call('GET', '/api/agents?include_inactive=true', { token: admin.token }),
    )
    expect(all).toHaveLength(1)
    expect((await call('DELETE', `/api/agents/${agent.id}`, { token: admin.token })).status).toBe(204)
  })

  it('is 403 for a team that is not the caller’s, and for who is no admin', async () => {
    const { admin, member } = await makeWorld()
    const other = await makeWorld()
    const foreign = { name: 'x', kind: 'echo', team_id: other.tenant.id }
    expect((await call('POST', '/api/agents', { token: admin.token, body: foreign })).status).toBe(403)
    const body = { name: 'x', kind: 'echo' }
    expect((await call('POST', '/api/agents', { token: member.token, body })).status).toBe(403)
  })
})

describe('the chat guide’s /api/chats', () => {
  it('keeps tags in the metadata', async () => {
    const { token, tenant, agent, chat } = await makeChat()
    expect(chat).toMatchObject({
      team_id: tenant.id,
      agent_id: agent.id,
      title: 'Support Request',
      metadata: { tags: ['support'] },
      is_archived: false,
    })
    const put = await call('PUT', `/api/chats/${chat.id}`, {
      token,
      body: { title: 'Updated Support Request', is_archived: false },
    })
    expect(await json(put)).toMatchObject({
      title: 'Updated Support Request',
      metadata: { tags: ['support'] },
    })
  })

  it('streams an answer in the guide’s format and shows it: all of it in the chat, the last exchange in the list', async () => {
    const { token, chat } = await makeChat()
    await say(token, chat.id, 'Hello, I need help')
    const stream = await say(token, chat.id, 'with my account')
    const events = stream
      .split('\n')
      .flatMap((line) => (line.startsWith('data: ') ? [JSON.parse(line.slice(6))] : []))
    expect(events.at(-1)).toMatchObject({ type: 'done', data: { message: 'Stream completed' } })
    const text = events.flatMap((event) => (event.type === 'message' ? [event.data.content] : [])).join('')
    expect(text).toBe('with my account')

    const whole = await json<Chat>(await call('GET', `/api/chats/${chat.id}`, { token }))
    expect(whole.messages.map(({ role, content }) => [role, content])).toEqual([
      ['user', 'Hello, I need help'],
      ['assistant', 'Hello, I need help'],
      ['user', 'with my account'],
      ['assistant', 'with my account'],
    ])
    const list = async () => json<Chat[]>(await call('GET', '/api/chats', { token }))
    await expect
      .poll(async () => (await list())[0]?.messages.map((message) => message.content))
      .toEqual(['with my account', 'with my account'])
    expect((await call('DELETE', `/api/chats/${chat.id}`, { token })).status).toBe(204)
    expect(await list()).toEqual([])
  })

  it('pages by limit and offset', async () => {
    const { token, agent } = await makeChat()
    for (const title of ['b', 'c', 'd'])
      await call('POST', '/api/chats', { token, body: { agent_id: agent.id, title } })
    const titles = async (query: string) =>
      (await json<Chat[]>(await call('GET', `/api/chats?${query}`, { token }))).map((chat) => chat.title)
    expect(await titles('')).toEqual(['d', 'c', 'b', 'Support Request'])
    expect(await titles('limit=2&offset=1')).toEqual(['c', 'b'])
    expect(await titles('limit=2&offset=3')).toEqual(['Support Request'])
    expect((await call('GET', '/api/chats?offset=-1', { token })).status).toBe(422)
    expect((await call('GET', '/api/chats?limit=0', { token })).status).toBe(422)
  })
})
