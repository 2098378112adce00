import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Message } from '../../src/domains/chat/messages/schema'
import { Alarms } from '../../src/domains/chat/room/alarms'
import { Conversation } from '../../src/domains/chat/room/log/conversation'
import { ChatLog } from '../../src/domains/chat/room/log/log'
import { Store } from '../../src/domains/chat/room/store'
import { newId } from '../../src/lib/ids'

const NOW = Date.UTC(2026, 0, 31)

type Parts = { store: Store; log: ChatLog; conversation: Conversation; storage: DurableObjectStorage }

/** The storage parts of a chat, in an object of their own. */
function inStorage<T>(work: (parts: Parts) => T | Promise<T>, create = true): Promise<T> {
  const stub = env.CHATS.getByName(`scratch-${crypto.randomUUID()}`)
  return runInDurableObject(stub, (_object, state) => {
    const parts = opened(state.storage)
    if (create) parts.store.create()
    parts.log.open()
    return work(parts)
  })
}

function opened(storage: DurableObjectStorage): Parts {
  const store = new Store(storage)
  const conversation = new Conversation(store)
  const log: ChatLog = new ChatLog(store, (event) => conversation.apply(event, log))
  return { store, log, conversation, storage }
}

const rows = ({ store }: Parts) => store.row<{ n: number }>('select count(*) as n from log')?.n ?? 0
const texts = (parts: Parts, after = 0) =>
  parts.log
    .after(after, 1000, NOW)
    .map(({ id, type, data }) => [id, type === 'message' ? data.content : type])

/** A question and the beginning of its answer. */
function ask(parts: Parts, content = 'question'): { runId: string; answerId: string; first: number } {
  const runId = newId(NOW)
  const base = { run_id: runId, attachments: [], metadata: {}, timestamp: new Date(NOW).toISOString() }
  const question: Message = {
    ...base,
    id: newId(NOW),
    parent_id: parts.conversation.leaf,
    role: 'user',
    content,
    status: 'complete',
  }
  const answer: Message = {
    ...base,
    id: newId(NOW),
    parent_id: question.id,
    role: 'assistant',
    content: '',
    status: 'streaming',
  }
  const ids = { id: runId, message_id: question.id, answer_id: answer.id }
  parts.conversation.begin({ ...ids, sent_by: 'someone', client_message_id: null }, NOW)
  parts.log.append(NOW, 'message.created', question, answer)
  parts.conversation.placed(runId, parts.log.head)
  return { runId, answerId: answer.id, first: parts.log.head }
}

function finish(parts: Parts, { runId, answerId }: { runId: string; answerId: string }, now = NOW): void {
  const data = { message: 'Stream completed', message_id: answerId, run_id: runId, finish: 'stop' as const }
  parts.log.append(now, 'done', data)
  parts.conversation.ended(runId, { finish: 'stop', error: null, usage: null }, parts.log.head, now)
}

describe('the store', () => {
  it('writes nothing until it is made', async () => {
    const tables = await inStorage(({ store, log, storage }) => {
      expect(store.exists).toBe(false)
      expect(log.after(0, 10, NOW)).toEqual([])
      expect(log.cursor).toBe('e1-0')
      return storage.sql
        .exec(`select name from sqlite_master where name not like '\\_%' escape '\\'`)
        .toArray()
    }, false)
    expect(tables).toEqual([])
  })

  it('is found again, and erased whole', async () => {
    await inStorage(async (parts) => {
      parts.store.create()
      ask(parts)
      const again = opened(parts.storage)
      expect(again.store.exists).toBe(true)
      expect(again.log.head).toBe(2)
      await again.store.erase()
      expect(opened(parts.storage).store.exists).toBe(false)
    })
  })
})

describe('the log', () => {
  it('numbers entries in order, several in one row', () =>
    inStorage((parts) => {
      ask(parts)
      parts.log.append(NOW, 'status', { description: 'a', level: 'info', done: false })
      expect(rows(parts)).toBe(2)
      expect(texts(parts)).toEqual([
        ['e1-1', 'message.created'],
        ['e1-2', 'message.created'],
        ['e1-3', 'status'],
      ])
    }))

  it('writes text as one row before the next entry, and tells when 4 KiB wait', () =>
    inStorage((parts) => {
      const run = ask(parts)
      expect(parts.log.delta('a').full).toBe(false)
      expect(parts.log.delta('b').event).toEqual({ seq: 4, type: 'message', data: { content: 'b' } })
      expect(rows(parts)).toBe(1)
      parts.log.append(NOW, 'status', { description: 's', level: 'info', done: false })
      expect(rows(parts)).toBe(3)
      expect(parts.log.delta('x'.repeat(4096)).full).toBe(true)
      finish(parts, run)
      expect(texts(parts, 2).map(([id]) => id)).toEqual(['e1-3', 'e1-4', 'e1-5', 'e1-6', 'e1-7'])
    }))

  it('reads on from inside a row', () =>
    inStorage((parts) => {
      ask(parts)
      for (const text of ['a', 'b', 'c', 'd']) parts.log.delta(text)
      expect(texts(parts, 4)).toEqual([
        ['e1-5', 'c'],
        ['e1-6', 'd'],
      ])
      expect(rows(parts)).toBe(2)
    }))

  it('loses only the text that waited when it is opened again', () =>
    inStorage((parts) => {
      const { answerId } = ask(parts)
      parts.log.delta('kept')
      parts.log.flush(NOW)
      parts.log.delta('lost')
      expect(parts.conversation.message(answerId, parts.log)?.content).toBe('keptlost')
      const again = opened(parts.storage)
      expect(again.log.head).toBe(3)
      expect(again.conversation.message(answerId, again.log)?.content).toBe('kept')
    }))

  it('keeps the ids of entries of earlier epochs', () =>
    inStorage((parts) => {
      const run = ask(parts)
      parts.log.beginEpoch()
      finish(parts, run)
      expect(texts(parts)).toEqual([
        ['e1-1', 'message.created'],
        ['e1-2', 'message.created'],
        ['e2-3', 'done'],
      ])
      expect(opened(parts.storage).log.cursor).toBe('e2-3')
    }))
})

describe('resuming', () => {
  it('takes cursors of this epoch, up to the end', () =>
    inStorage(({ log, ...parts }) => {
      ask({ log, ...parts })
      expect(log.resumes({ epoch: 1, seq: 0 })).toBe(true)
      expect(log.resumes({ epoch: 1, seq: 2 })).toBe(true)
      expect(log.resumes({ epoch: 1, seq: 3 })).toBe(false)
      expect(log.resumes({ epoch: 2, seq: 1 })).toBe(false)
      log.beginEpoch()
      expect(log.resumes({ epoch: 1, seq: 2 })).toBe(false)
      // No entry and no snapshot of the new epoch stands before this place: nobody was given such a cursor.
      expect(log.resumes({ epoch: 2, seq: 1 })).toBe(false)
      expect(log.resumes({ epoch: 2, seq: 2 })).toBe(true)
    }))

  it('reads on over epochs where nothing was lost in between', () =>
    inStorage(({ log, ...parts }) => {
      const run = ask({ log, ...parts })
      log.delta('sent')
      log.flush(NOW)
      log.delta('lost')
      log.open()
      log.beginEpoch()
      finish({ log, ...parts }, run)
      expect(log.reads({ epoch: 1, seq: 3 })).toBe(true)
      expect(log.reads({ epoch: 1, seq: 4 })).toBe(false)
      expect(log.reads({ epoch: 2, seq: 4 })).toBe(true)
      expect(log.reads({ epoch: 2, seq: 5 })).toBe(false)
      expect(log.reads({ epoch: 3, seq: 1 })).toBe(false)
    }))
})

describe('compacting', () => {
  const DAY = 24 * 3600_000

  it('joins text older than a day, so that it still folds to the same message', () =>
    inStorage((parts) => {
      const run = ask(parts)
      const words = Array.from({ length: 100 }, (_, i) => `word${i} `)
      words.forEach((word, i) => {
        parts.log.delta(word)
        if (i % 5 === 4) parts.log.flush(NOW)
      })
      finish(parts, run)
      const before = rows(parts)
      expect(parts.conversation.compact(parts.log, NOW - 1)).toBe(NOW)
      expect(rows(parts)).toBe(before)

      expect(parts.conversation.compact(parts.log, NOW)).not.toBeNull()
      expect(parts.conversation.compact(parts.log, NOW)).toBeNull()
      expect(rows(parts)).toBe(3)
      expect(texts(parts, 2)).toEqual([
        ['e1-102', words.join('')],
        ['e1-103', 'done'],
      ])
      expect(parts.conversation.message(run.answerId, parts.log)?.content).toBe(words.join(''))
      expect(opened(parts.storage).log.resumes({ epoch: 1, seq: 50 })).toBe(false)
      expect(parts.log.resumes({ epoch: 1, seq: 102 })).toBe(true)
      // Reading the log by pages goes on where nothing is skipped.
      expect(parts.log.reads({ epoch: 1, seq: 2 })).toBe(true)
      expect(parts.log.reads({ epoch: 1, seq: 50 })).toBe(false)
      expect(parts.log.reads({ epoch: 1, seq: 102 })).toBe(true)
    }))

  it('leaves other entries where they stand', () =>
    inStorage((parts) => {
      const run = ask(parts)
      parts.log.delta('before')
      parts.log.append(NOW, 'status', { description: 's', level: 'info', done: false })
      parts.log.delta('after')
      finish(parts, run)
      parts.conversation.compact(parts.log, NOW + DAY)
      expect(texts(parts, 2)).toEqual([
        ['e1-3', 'before'],
        ['e1-4', 'status'],
        ['e1-5', 'after'],
        ['e1-6', 'done'],
      ])
    }))

  it('keeps rows below what a row can hold', () =>
    inStorage((parts) => {
      const run = ask(parts)
      for (let i = 0; i < 600; i += 1) {
        parts.log.delta('x'.repeat(2000))
        parts.log.flush(NOW)
      }
      finish(parts, run)
      parts.conversation.compact(parts.log, NOW)
      const longest = parts.store.row<{ n: number }>('select max(length(data)) as n from log')?.n ?? 0
      expect(longest).toBeLessThan(300_000)
      expect(parts.log.textBetween(run.first, parts.log.head).length).toBe(1_200_000)
    }))
})

describe('reading', () => {
  it('takes no more text at once than a call of the object can answer, and goes on from there', () =>
    inStorage((parts) => {
      const run = ask(parts)
      for (let i = 0; i < 3_000; i += 1) {
        parts.log.delta('ö'.repeat(2000))
        parts.log.flush(NOW)
      }
      finish(parts, run)
      parts.conversation.compact(parts.log, NOW)
      let text = ''
      for (let at = 0, page = 1; page > 0; ) {
        const events = parts.log.after(at, 1000, NOW)
        page = events.length
        const said = events.map(({ type, data }) => (type === 'message' ? data.content : '')).join('')
        expect(said.length).toBeLessThan(2_500_000)
        text += said
        at = events.at(-1)?.seq ?? at
      }
      expect(text).toBe('ö'.repeat(6_000_000))
    }))
})

describe('the conversation', () => {
  it('is the branch to the newest message, contents of any length whole', () =>
    inStorage((parts) => {
      const first = ask(parts, 'one')
      const long = 'lörem 😀 '.repeat(60_000)
      parts.log.delta(long)
      finish(parts, first)
      const second = ask(parts, 'two')
      parts.log.delta('being written')
      const branch = parts.conversation.branch(parts.log)
      expect(branch.map(({ role, status }) => [role, status])).toEqual([
        ['user', 'complete'],
        ['assistant', 'complete'],
        ['user', 'complete'],
        ['assistant', 'streaming'],
      ])
      expect(branch.map(({ content }) => content)).toEqual(['one', long, 'two', 'being written'])
      expect(branch.map(({ parent_id }) => parent_id)).toEqual([
        null,
        ...branch.slice(0, 3).map(({ id }) => id),
      ])
      expect(parts.conversation.branch(parts.log, 2).map(({ content }) => content)).toEqual([
        'two',
        'being written',
      ])
      expect(parts.conversation.count).toBe(4)
      expect(parts.conversation.unfinished()?.id).toBe(second.runId)
    }))
})

describe('alarms', () => {
  it('stand behind one alarm, the earliest first', () =>
    inStorage(async ({ store, storage }) => {
      const alarms = new Alarms(store, storage)
      const soon = Date.now() + 100_000
      alarms.set('compact', soon + 5000)
      alarms.set('run', soon)
      expect(await storage.getAlarm()).toBe(soon)
      alarms.atLatest('run', soon + 1000)
      alarms.atLatest('outbox', soon - 1000)
      expect(await storage.getAlarm()).toBe(soon - 1000)
      alarms.clear('outbox')
      alarms.clear('run')
      expect(await storage.getAlarm()).toBe(soon + 5000)
      alarms.clear('compact')
      expect(await storage.getAlarm()).toBeNull()
    }))

  it('are due again when their handler does not come to an end', () =>
    inStorage(async ({ store, storage }) => {
      const alarms = new Alarms(store, storage)
      const now = Date.now()
      alarms.set('outbox', now + 100_000)
      alarms.set('run', now + 200_000)
      expect(alarms.take(now + 150_000)).toEqual(['outbox'])
      expect(await storage.getAlarm()).toBe(now + 200_000)
      expect(alarms.take(now + 205_000)).toEqual(['run'])
      expect(await storage.getAlarm()).toBe(now + 210_000)
    }))
})
