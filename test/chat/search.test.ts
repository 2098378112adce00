import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { MAX_PAYLOAD } from '../../src/data/commit'
import { searchedText, snippetOf } from '../../src/domains/chat/search/words'
import { marked, matchOf, unmarked, wantedOf } from '../../src/lib/words'
import { call, callJson, makePerson, makeWorld, type Person, renew, type World } from '../world'
import { chatWith, eventually, gatedChat, openChat, type TestChat } from './kit'

type Part = { text: string; match?: true }
type Found = { id: string; title: string | null; snippets: { title: Part[] | null; text: Part[] | null } }

const echo = { name: 'Echo', kind: 'echo' }

let world: World
let agentId: string

beforeAll(async () => {
  world = await makeWorld()
  agentId = (await chatWith(world, echo)).agentId
})

const search = ({ token }: Pick<Person, 'token'>, q: string, more = '') =>
  callJson<Found[]>('GET', `/api/v1/chats/search?q=${encodeURIComponent(q)}${more}`, { token })
const idsOf = async (person: Person, q: string, more = '') =>
  (await search(person, q, more)).data.map(({ id }) => id)

/** A chat of somebody’s in which `content` was said, as search knows it. */
async function chatSaying(person: Person, content: string, more: Record<string, unknown> = {}) {
  const chat = await openChat(world, person, agentId, more)
  await chat.exchange(content)
  await settled(chat)
  return chat
}

/** Waits until all that a chat’s log means for D1 is there. */
const settled = (chat: TestChat) =>
  eventually(() =>
    chat.inObject((_, state) => state.storage.sql.exec('select 1 from outbox').toArray().length === 0),
  )

const person = () => makePerson(world.tenant, 'member')
const text = (parts: Part[] | null | undefined) =>
  parts?.map((part) => (part.match ? `[${part.text}]` : part.text)).join('')

describe('what is found', () => {
  it('is a chat by words of its text and its title, in any order and case, with accents or without', async () => {
    const me = await person()
    const chat = await chatSaying(me, 'Où est mon café crème? The PARCEL number is A-17.', {
      title: 'Réunion Paris',
    })
    for (const q of [
      'parcel',
      'number PARCEL',
      'CAFE',
      'creme café',
      'a-17',
      'reunion',
      'paris parcel',
      'par',
    ])
      expect(await idsOf(me, q), q).toEqual([chat.id])
    for (const q of ['arcel', 'parcel nothing', 'A-18', 'london']) expect(await idsOf(me, q), q).toEqual([])
  })

  it('is shown with the words marked', async () => {
    const me = await person()
    const long = `${'Before that. '.repeat(20)}My parcel number is <b>A-17</b>. ${'After that. '.repeat(20)}`
    await chatSaying(me, long, { title: 'About a parcel' })
    const [found] = (await search(me, 'parcel a-17')).data
    expect(text(found?.snippets.title)).toBe('About a [parcel]')
    const snippet = text(found?.snippets.text) ?? ''
    expect(snippet).toContain('My [parcel] number is <b>[A-17]</b>.')
    expect(snippet.startsWith('…')).toBe(true)
    expect(snippet.length).toBeLessThan(230)
    const [only] = (await search(me, 'before')).data
    expect(only?.snippets.title).toBeNull()
  })

  it('is found in scripts without spaces, by any part of them', async () => {
    const me = await person()
    const chinese = await chatSaying(me, '我的包裹在哪里？订单号是A17。')
    const japanese = await chatSaying(me, '荷物はどこですか。東京タワーの近くです')
    const thai = await chatSaying(me, 'พัสดุของฉันอยู่ที่ไหน')
    const hindi = await chatSaying(me, 'मेरा पार्सल कहाँ है')
    expect(await idsOf(me, '包裹')).toEqual([chinese.id])
    expect(await idsOf(me, '裹包')).toEqual([])
    expect(await idsOf(me, '订单 a17')).toEqual([chinese.id])
    expect(await idsOf(me, '東京タワー')).toEqual([japanese.id])
    expect(await idsOf(me, 'ของฉัน')).toEqual([thai.id])
    expect(await idsOf(me, 'पार्सल')).toEqual([hindi.id])
    const [found] = (await search(me, '包裹')).data
    expect(text(found?.snippets.text)).toContain('我的[包裹]在哪里')
  })

  it('is what the answer says, too, and the last 8 KiB alone', async () => {
    const me = await person()
    const chat = await chatSaying(me, `Oldest ${'filler'.repeat(600)}`, { title: 'Long' })
    expect(await idsOf(me, 'oldest')).toEqual([chat.id])
    await chat.exchange(`Newest ${'stuffing'.repeat(620)}`)
    await settled(chat)
    expect(await idsOf(me, 'oldest')).toEqual([])
    expect(await idsOf(me, 'newest')).toEqual([chat.id])
    await chat.exchange('last')
    await settled(chat)
    // The answer to the one before, which began with it, is still within.
    expect(await idsOf(me, 'last stuffing')).toEqual([chat.id])
  })

  it('changes with the title, and goes with the chat', async () => {
    const me = await person()
    const chat = await openChat(world, me, agentId, { title: 'Walrus' })
    expect(await idsOf(me, 'walrus')).toEqual([chat.id])
    await callJson('PATCH', chat.path, { token: me.token, body: { title: 'Penguin' } })
    expect(await idsOf(me, 'walrus')).toEqual([])
    expect(await idsOf(me, 'penguin')).toEqual([chat.id])
    await chat.exchange('Seal')
    await settled(chat)
    expect(await idsOf(me, 'seal penguin')).toEqual([chat.id])
    await call('DELETE', chat.path, { token: me.token })
    expect(await idsOf(me, 'penguin')).toEqual([])
    expect(await linesOf(chat)).toEqual([0, 0])
  })

  it('comes with the next delivery after D1 could not be written', async () => {
    const me = await person()
    const { chat, gate } = await gatedChat(world)
    await callJson('PUT', `${chat.path}/shares`, {
      token: chat.person.token,
      body: { user_id: me.user.id, role: 'viewer' },
    })
    const stream = await chat.send('ostrich?')
    await gate.say('An ostrich ', 'is a bird')
    expect(await idsOf(me, 'ostrich')).toEqual([])
    // The event of the message is larger than any may be: the whole batch fails, and is tried again without it.
    await chat.inObject((_, state) => {
      const event = JSON.stringify({ type: 'chat.message.created', data: 'x'.repeat(MAX_PAYLOAD) })
      state.storage.sql.exec('insert into outbox (seq, event) values (9999, ?)', event)
    })
    await gate.end()
    await stream.rest()
    expect(await idsOf(me, 'ostrich')).toEqual([])
    await chat.inObject((object, state) => {
      state.storage.sql.exec('delete from outbox where seq = 9999')
      return (object as unknown as { room: { outbox: { deliver(): Promise<void> } } }).room.outbox.deliver()
    })
    expect(await idsOf(me, 'ostrich bird')).toEqual([chat.id])
  })

  it('is not what an older place of the log says', async () => {
    const me = await person()
    const chat = await chatSaying(me, 'A heron')
    const before = await textOf(chat)
    await chat.exchange('A stork')
    await settled(chat)
    const after = await textOf(chat)
    expect(after.log_seq).toBeGreaterThan(before.log_seq)
    await chat.inObject(async (object, state) => {
      // What was under way when the object was cut off may arrive late.
      const room = object as unknown as {
        room: { log: { head: number }; outbox: { deliver(): Promise<void>; add(now: number): void } }
      }
      const { head } = room.room.log
      state.storage.sql.exec(`delete from meta where key = 'found_seq'`)
      room.room.log.head = before.log_seq - 1
      room.room.outbox.add(Date.now())
      await room.room.outbox.deliver()
      room.room.log.head = head
    })
    expect(await textOf(chat)).toEqual(after)
  })
})

describe('who finds', () => {
  it('is the owner, and who has a share: by name, by a team, as one of the tenant; until it ends', async () => {
    const [me, friend, mate] = [await person(), await person(), await person()]
    const chat = await chatSaying(me, 'The flamingo stands')
    const find = () => Promise.all([me, friend, mate].map((one) => idsOf(one, 'flamingo')))
    const put = (body: object) => callJson('PUT', `${chat.path}/shares`, { token: me.token, body })
    const end = (query: string) => call('DELETE', `${chat.path}/shares?${query}`, { token: me.token })
    expect(await find()).toEqual([[chat.id], [], []])
    await put({ user_id: friend.user.id, role: 'viewer' })
    expect(await find()).toEqual([[chat.id], [chat.id], []])
    const team = await callJson<{ id: string }>('POST', '/api/v1/teams', {
      token: world.admin.token,
      body: { name: crypto.randomUUID() },
    })
    for (const { user } of [friend, mate])
      await callJson('PUT', `/api/v1/teams/${team.data.id}/members/${user.id}`, { token: world.admin.token })
    await renew(friend, mate)
    await put({ team_id: team.data.id, role: 'viewer' })
    // Twice for the friend, and yet once.
    expect(await find()).toEqual([[chat.id], [chat.id], [chat.id]])
    await call('DELETE', `/api/v1/teams/${team.data.id}/members/${mate.user.id}`, {
      token: world.admin.token,
    })
    await renew(mate)
    expect(await find()).toEqual([[chat.id], [chat.id], []])
    await call('DELETE', `/api/v1/teams/${team.data.id}`, { token: world.admin.token })
    await renew(friend)
    await end(`user_id=${friend.user.id}`)
    expect(await find()).toEqual([[chat.id], [], []])
    await put({ scope: 'tenant', role: 'viewer' })
    expect(await find()).toEqual([[chat.id], [chat.id], [chat.id]])
    // What is said afterwards is found by all of them, too.
    await chat.exchange('and the pelican swims')
    await settled(chat)
    expect(await Promise.all([me, mate].map((one) => idsOf(one, 'pelican flamingo')))).toEqual([
      [chat.id],
      [chat.id],
    ])
    await end('scope=tenant')
    expect(await find()).toEqual([[chat.id], [], []])
  })

  it('is nobody by a share that has expired', async () => {
    const [me, friend] = [await person(), await person()]
    const chat = await chatSaying(me, 'The albatross flies')
    await callJson('PUT', `${chat.path}/shares`, {
      token: me.token,
      body: {
        user_id: friend.user.id,
        role: 'viewer',
        expires_at: new Date(Date.now() + 60_000).toISOString(),
      },
    })
    expect(await idsOf(friend, 'albatross')).toEqual([chat.id])
    await env.DB.prepare('update chat_shares set expires_at = ? where chat_id = ?')
      .bind('2020-01-01T00:00:00.000Z', chat.id)
      .run()
    expect(await idsOf(friend, 'albatross')).toEqual([])
  })

  it('is nobody of another tenant, and no other user, whatever the query says', async () => {
    const me = await person()
    const chat = await chatSaying(me, 'The secret cormorant')
    const code = `u${me.user.id.slice(-12)}`
    const other = await makeWorld()
    const attempts = [
      'cormorant',
      `${code}cormorant`,
      `x) OR ("${code}cormorant"`,
      `x") OR ("${code}cormorant`,
      `words:${code}cormorant`,
      `NEAR(cormorant secret)`,
      `cormorant OR ${code}`,
      `"cormorant`,
      `cormorant* ^`,
      `{words} : ${code}cormorant`,
      `\u200b${code}cormorant`,
      `a NOT b AND`,
    ]
    for (const stranger of [world.admin, await person(), other.admin, other.member])
      for (const q of attempts) {
        const { status, data } = await search(stranger, q)
        expect([q, status, data]).toEqual([q, 200, []])
      }
    expect(await idsOf(me, 'cormorant')).toEqual([chat.id])
  })
})

describe('a page', () => {
  it('goes on where the one before ended, each chat once, what changed last first', async () => {
    const me = await person()
    const made: TestChat[] = []
    for (let n = 0; n < 7; n++) made.push(await openChat(world, me, agentId, { title: `Puffin ${n}` }))
    const archived = made[3] as TestChat
    await callJson('PATCH', archived.path, { token: me.token, body: { is_archived: true } })
    const titles: (string | null)[] = []
    for (let cursor = ''; ; ) {
      const page = await search(me, 'puffin', `&limit=2${cursor}`)
      titles.push(...page.data.map(({ title }) => title))
      if (page.meta.next_cursor === null) break
      cursor = `&cursor=${page.meta.next_cursor}`
    }
    expect(titles).toEqual([6, 5, 4, 2, 1, 0].map((n) => `Puffin ${n}`))
    expect(await idsOf(me, 'puffin', '&include_archived=true')).toHaveLength(7)
    expect(await idsOf(me, 'puffin', `&agent_id=${crypto.randomUUID()}`)).toEqual([])
    await callJson('PATCH', (made[0] as TestChat).path, { token: me.token, body: { title: 'Puffin again' } })
    expect((await idsOf(me, 'puffin'))[0]).toBe((made[0] as TestChat).id)
  })

  it('of a cursor of another search, or of nothing to look for, is refused', async () => {
    const me = await person()
    for (let n = 0; n < 2; n++) await openChat(world, me, agentId, { title: 'Auk' })
    const { meta } = await search(me, 'auk', '&limit=1')
    const other = await search(me, 'puffin', `&cursor=${meta.next_cursor}`)
    expect([other.status, Object.keys(other.error.details.fields ?? {})]).toEqual([422, ['cursor']])
    for (const q of ['', '?!', '   ', '"'.repeat(3)]) {
      const { status, error } = await search(me, q)
      expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, ['q']])
    }
    expect((await search(me, 'x'.repeat(201))).status).toBe(422)
    expect((await search(me, `${'a '.repeat(99)}b`)).status).toBe(200)
    const words = Array.from({ length: 21 }, (_, n) => `w${n}`)
    expect((await search(me, words.join(' '))).error.details.fields).toEqual({
      q: 'must have at most 20 words',
    })
    expect((await search(me, words.slice(1).join(' '))).status).toBe(200)
  })

  it('reads no more rows however many chats others have', async () => {
    const me = await person()
    await openChat(world, me, agentId, { title: 'Kittiwake one' })
    await openChat(world, me, agentId, { title: 'Kittiwake two' })
    const few = await rowsReadBy(() => search(me, 'kitti'))
    for (const one of [await person(), await person()])
      for (let n = 0; n < 30; n++) await openChat(world, one, agentId, { title: `Kittiwake ${n}` })
    expect(await rowsReadBy(() => search(me, 'kitti'))).toBe(few)
    expect(few).toBeGreaterThan(2)
    expect(few).toBeLessThan(40)
  })
})

describe('words', () => {
  it('are marked and unmarked without a change', () => {
    for (const one of ['Hello, world', 'é 我的包裹 ok', 'ปลา x', '\u{1f600} smile', 'A\u200bB', ''])
      expect(unmarked(marked(one))).toBe(one.replaceAll('\u200b', '').normalize('NFC'))
  })

  it('are all in quotes, with nothing but letters and digits', () => {
    const match = matchOf(wantedOf('foo-bar) OR "x* 包裹 NEAR/3'), ['u1', 't2'])
    expect(match).toBe(
      '("u1foo u1bar"* AND "u1OR"* AND "u1x"* AND "u1包 u1裹"* AND "u1NEAR u13"*) OR ("t2foo t2bar"* AND "t2OR"* AND "t2x"* AND "t2包 t2裹"* AND "t2NEAR t23"*)',
    )
  })

  it('are looked for in as many teams as one may be in', async () => {
    const codes = Array.from({ length: 102 }, () => `t${crypto.randomUUID().slice(-12)}`)
    const words = wantedOf(Array.from({ length: 20 }, (_, n) => `\u5305\u88f9${n}`).join(' '))
    const query = env.DB.prepare('select rowid from chat_words where chat_words match ?')
    const { results, meta } = await query.bind(matchOf(words, codes)).all()
    expect(results).toEqual([])
    expect(meta.duration).toBeLessThan(2_000)
  })

  it('of a long chat are those of its end, cut at no character', () => {
    const end = searchedText(['old', '界'.repeat(5000), `${'y'.repeat(20)} the end`])
    expect(new TextEncoder().encode(end).byteLength).toBeLessThanOrEqual(8192)
    expect(end.startsWith('界')).toBe(true)
    expect(end.endsWith('the end')).toBe(true)
    expect(searchedText(['a', 'b'])).toBe('a\nb')
    expect(searchedText([])).toBe('')
  })

  it('are shown where most of them are, and no pair of surrogates is cut', () => {
    const far = `fish ${'\u{1f600}'.repeat(150)} fish and chips ${'\u{1f600}'.repeat(150)}`
    const parts = snippetOf(far, wantedOf('chips fish'))
    expect(text(parts)).toContain('[fish] and [chips]')
    expect(parts?.every((part) => part.text.isWellFormed())).toBe(true)
    expect(snippetOf('nothing here', wantedOf('fish'))).toBeNull()
  })
})

async function linesOf(chat: TestChat): Promise<number[]> {
  const counts = ['chat_texts', 'chat_finders'].map((table) =>
    env.DB.prepare(`select count(*) as n from ${table} where tenant_id = ? and chat_id = ?`)
      .bind(chat.world.tenant.id, chat.id)
      .first<number>('n'),
  )
  return (await Promise.all(counts)).map(Number)
}

const textOf = async (chat: TestChat) => {
  const row = await env.DB.prepare('select text, log_seq from chat_texts where tenant_id = ? and chat_id = ?')
    .bind(chat.world.tenant.id, chat.id)
    .first<{ text: string; log_seq: number }>()
  if (!row) throw new Error('the chat has no text')
  return row
}

/** Rows that D1 says it read for what `work` asked. */
async function rowsReadBy(work: () => Promise<unknown>): Promise<number> {
  const prototype = Object.getPrototypeOf(env.DB.prepare('select 1')) as { all(): Promise<D1Result> }
  const { all } = prototype
  let read = 0
  prototype.all = async function counted(this: unknown) {
    const result = await all.call(this)
    read += result.meta.rows_read ?? 0
    return result
  }
  try {
    await work()
  } finally {
    prototype.all = all
  }
  return read
}
