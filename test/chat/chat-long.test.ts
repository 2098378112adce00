import { describe, expect, it } from 'vitest'
import type { ChatRoom } from '../../src/domains/chat/room/object'
import type { Room } from '../../src/domains/chat/room/room'
import { newId } from '../../src/lib/ids'
import { callJson, makeWorld } from '../world'
import { chatWith, type TestChat } from './kit'

const PIECE = 1_500_000
/** Together more than one call of an object can answer (32 MiB). */
const PIECES = 24

/** Fills a chat with answers that are far longer than any reader’s patience. */
function fill(chat: TestChat): Promise<void> {
  return chat.inObject((object: ChatRoom) => {
    const { log, conversation } = (object as unknown as { room: Room }).room
    for (let i = 0; i < PIECES; i += 1) {
      const now = Date.now()
      const base = { run_id: null, attachments: [], metadata: {}, timestamp: new Date(now).toISOString() }
      log.append(now, 'message.created', {
        ...base,
        id: newId(now),
        parent_id: conversation.leaf,
        role: 'assistant',
        content: `${i}:`.padEnd(PIECE, 'z'),
        status: 'complete',
      })
    }
  })
}

type Read = { messages: { content: string; parent_id: string | null }[]; messages_complete: boolean }

describe('a chat of megabytes', { timeout: 30_000 }, () => {
  it('is read from its newest messages back, as far as an answer holds', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    await chat.exchange('Hello')
    const short = await callJson<Read>('GET', chat.path, { token: chat.person.token })
    expect(short.data).toMatchObject({ messages_complete: true, messages: [{ content: 'Hello' }, {}] })
    await fill(chat)
    const { status, data } = await callJson<Read>('GET', chat.path, { token: chat.person.token })
    expect(status).toBe(200)
    expect(data.messages.at(-1)?.content.startsWith(`${PIECES - 1}:`)).toBe(true)
    expect(data.messages.length).toBeGreaterThan(3)
    expect(data.messages.length).toBeLessThan(10)
    expect(data.messages_complete).toBe(false)
    const reset = await callJson<{ type: string; data: { complete: boolean } }[]>(
      'GET',
      `${chat.path}/events?after=e9-1`,
      { token: chat.person.token },
    )
    expect(reset.data[0]).toMatchObject({ type: 'reset', data: { complete: false } })
  })
  it('shows a list no more than the beginning of its last exchange', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const question = `${'z'.repeat(32 * 1024 - 1)}\u{1F600} and more`
    await chat.exchange(question)
    type Listed = { messages: { content: string; content_truncated?: true }[] }[]
    const list = async () =>
      (await callJson<Listed>('GET', '/api/v1/chats?include=last_exchange', { token: chat.person.token }))
        .data
    await expect.poll(async () => (await list())[0]?.messages.length).toBe(2)
    // The pair of surrogates that would be cut in two is left out.
    for (const message of (await list())[0]?.messages ?? [])
      expect(message).toMatchObject({ content: 'z'.repeat(32 * 1024 - 1), content_truncated: true })
  })
})
