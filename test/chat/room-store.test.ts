import { describe, expect, it } from 'vitest'
import { Store } from '../../src/domains/chat/room/store'
import { newId } from '../../src/lib/ids'
import { callJson, makeWorld } from '../world'
import { chatWith, type ReadChat, type TestChat } from './kit'

/** The tables as the first version made them: chats of then lie asleep, and are woken by any other. */
const FIRST = [
  'create table meta (key text primary key, value text not null) without rowid',
  `create table log (
   last integer primary key, first integer not null, type text not null, data text not null, at integer not null)`,
  'create table epochs (epoch integer primary key, first_seq integer not null)',
  `create table messages (
   id text primary key, parent_id text, role text not null, status text not null, run_id text,
   attachments text not null, metadata text not null, timestamp text not null) without rowid`,
  `create table contents (
   message_id text not null, part integer not null, text text not null, primary key (message_id, part)) without rowid`,
  `create table runs (
   id text primary key, message_id text not null, answer_id text not null, sent_by text not null,
   client_message_id text, status text not null, finish text, error text, usage text,
   first_seq integer not null, last_seq integer, started_at integer not null, ended_at integer,
   compacted integer not null default 0) without rowid`,
  `create unique index runs_by_client on runs (sent_by, client_message_id) where client_message_id is not null`,
  'create index runs_by_state on runs (status, compacted, ended_at)',
  'create table outbox (seq integer primary key autoincrement, event text)',
  'create table alarms (name text primary key, due integer not null) without rowid',
]

const AT = '2026-01-31T10:00:00.000Z'

/** Writes one exchange as the first version did. */
async function asOfOld(chat: TestChat): Promise<{ question: string; answer: string }> {
  const [run, question, answer] = [newId(Date.now()), newId(Date.now()), newId(Date.now())]
  const base = { run_id: run, attachments: [], metadata: {}, timestamp: AT }
  const asked = { ...base, id: question, parent_id: null, role: 'user', content: 'old', status: 'complete' }
  const said = {
    ...base,
    id: answer,
    parent_id: question,
    role: 'assistant',
    content: '',
    status: 'streaming',
  }
  const done = { message: 'Stream completed', message_id: answer, run_id: run, finish: 'stop' }
  const at = Date.parse(AT)
  const rows: [string, ...(string | number | null)[]][] = [
    ['insert into epochs values (1, 1)'],
    [
      `insert into meta values ('version', '1'), ('leaf', ?), ('agent_id', ?), ('title', 'Old')`,
      answer,
      chat.agentId,
    ],
    [`insert into log values (2, 1, 'message.created', ?, ?)`, JSON.stringify([asked, said]), at],
    [`insert into log values (3, 3, 'message', '["then"]', ?)`, at],
    [`insert into log values (4, 4, 'done', ?, ?)`, JSON.stringify([done]), at],
    [`insert into messages values (?, null, 'user', 'complete', ?, '[]', '{}', ?)`, question, run, AT],
    [
      `insert into messages values (?, ?, 'assistant', 'complete', ?, '[]', '{"finish":"stop"}', ?)`,
      answer,
      question,
      run,
      AT,
    ],
    [`insert into contents values (?, 0, 'old'), (?, 0, 'then')`, question, answer],
    [
      `insert into runs values (?, ?, ?, ?, 'c-1', 'done', 'stop', null, null, 2, 4, ?, ?, 0)`,
      ...[run, question, answer, chat.person.user.id, at, at],
    ],
  ]
  await chat.inObject(async (object, state) => {
    await state.storage.deleteAll()
    for (const statement of FIRST) state.storage.sql.exec(statement)
    for (const [statement, ...params] of rows) state.storage.sql.exec(statement, ...params)
    object.furnish(chat.ids)
  })
  return { question, answer }
}

const texts = ({ messages }: ReadChat) => messages.map(({ content }) => content)

describe('a chat of the first version', () => {
  it('is read, answers, and is a tree like any other', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const { question, answer } = await asOfOld(chat)
    expect(texts((await chat.read()).data)).toEqual(['old', 'then'])
    const repeated = await chat.exchange('old', { client_message_id: 'c-1' })
    expect(repeated.map(({ type }) => type)).toEqual(['message', 'done'])
    await chat.exchange('new')
    expect(texts((await chat.read()).data)).toEqual(['old', 'then', 'new', 'new'])
    const token = chat.person.token
    const headers = { Accept: 'application/json' }
    const again = await callJson('POST', `${chat.path}/messages/${answer}/regenerate`, { token, headers })
    expect(again.status).toBe(200)
    expect(texts((await chat.read()).data)).toEqual(['old', 'old'])
    const rated = await callJson('POST', `${chat.path}/feedback`, {
      token,
      body: { message_id: answer, rating: 'up' },
    })
    expect(rated.status).toBe(200)
    const all = await callJson<{ id: string; children: string[] }[]>('GET', `${chat.path}/messages`, {
      token,
    })
    expect(all.data).toHaveLength(5)
    expect(all.data.find(({ id }) => id === question)?.children).toHaveLength(2)
  })

  it('has the tables of a new one', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    await asOfOld(chat)
    const made = await chatWith(chat.world, { name: 'Echo', kind: 'echo' })
    const tablesOf = (one: TestChat) =>
      one.inObject((_, state) => {
        new Store(state.storage).create()
        // Columns that came later stand at the end of what made the table.
        const names = state.storage.sql
          .exec<{ name: string }>(
            `select name from sqlite_master where name not like '\\_%' escape '\\' order by name`,
          )
          .toArray()
        return names.map(({ name }) => [
          name,
          state.storage.sql.exec(`select name, type from pragma_table_info(?) order by cid`, name).toArray(),
        ])
      })
    expect(await tablesOf(chat)).toEqual(await tablesOf(made))
  })
})
