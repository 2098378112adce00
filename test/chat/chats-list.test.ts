import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { callJson, makeWorld, type World } from '../world'

type Listed = { title: string; tags: string[]; is_archived: boolean; id: string }

/** Chats of the member, as a script would write them: `n` of them, the first the newest, each by the SQL of its columns. */
async function chats(world: World, n: number, columns: { title?: string; tags?: string; archived?: string }) {
  const { title = "'chat ' || i", tags = "'[]'", archived = '0' } = columns
  await env.DB.prepare(
    `with recursive n(i) as (select 1 union all select i + 1 from n where i < ?3)
     insert into chats (tenant_id, id, user_id, agent_id, title, is_archived, tags, metadata, last_activity_at, created_at, updated_at)
     select ?1, printf('0197b3c2-0000-7000-8000-%012x', abs(random()) % 281474976710655), ?2, '0197b3c2-0000-7000-8000-000000000001', ${title}, ${archived}, ${tags},
       '{}', strftime('%Y-%m-%dT%H:%M:%fZ', '2026-01-31', '-' || (i / 3) || ' seconds'), '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z'
     from n`,
  )
    .bind(world.tenant.id, world.member.user.id, n)
    .run()
}

/** Every page of a list, and how many there were. */
async function all(world: World, query: string) {
  const found: Listed[] = []
  let pages = 0
  for (let cursor = ''; ; pages++) {
    const { status, data, meta } = await callJson<Listed[]>('GET', `/api/v1/chats?${query}${cursor}`, {
      token: world.member.token,
    })
    expect(status).toBe(200)
    found.push(...data)
    if (meta.next_cursor === null) return { found, pages: pages + 1 }
    cursor = `&cursor=${meta.next_cursor}`
  }
}

/** Three of them at a time were spoken in at the same moment. */
const moment = ({ title }: Listed) => Math.floor(Number(title.split(' ')[1]) / 3)
const newestFirst = (one: Listed, other: Listed) =>
  moment(one) - moment(other) || (one.id < other.id ? 1 : -1)

describe('a user’s many chats', () => {
  it('are each listed once, in order, archived or not, with a tag or not', async () => {
    const world = await makeWorld()
    await chats(world, 200, {
      tags: `case when i % 4 = 0 then '["vip","a"]' when i % 4 = 1 then '["a"]' else '[]' end`,
      archived: 'i % 3 = 0',
    })
    for (const [tag, count] of [
      ['', 200],
      ['a', 100],
      ['vip', 50],
    ] as const)
      for (const archived of [true, false]) {
        const { found } = await all(world, `limit=7&include_archived=${archived}${tag && `&tag=${tag}`}`)
        expect(new Set(found.map(({ id }) => id)).size).toBe(found.length)
        expect(found).toEqual([...found].sort(newestFirst))
        expect(found.every((one) => tag === '' || one.tags.includes(tag))).toBe(true)
        if (archived) expect(found).toHaveLength(count)
        else expect(found.every(({ is_archived }) => !is_archived)).toBe(true)
      }
  })

  it('are found by their titles, so many of those that have the words at a time; the last is the last', async () => {
    const world = await makeWorld()
    await chats(world, 300, {
      title: "case when i % 60 = 0 then 'a Needle ' || i else 'hay' end",
      archived: 'i % 100 = 0',
    })
    // As the chats’ outboxes write it, the oldest first: in every other chat somebody speaks of needles.
    await env.DB.prepare(
      `insert into chat_texts (tenant_id, chat_id, title, text)
       select tenant_id, id, char(8203) || replace(title, ' ', ' ' || char(8203)),
         iif(rowid % 2 = 0, char(8203) || 'needle', '') from chats where tenant_id = ? order by rowid desc`,
    )
      .bind(world.tenant.id)
      .run()
    for (const query of ['q=needle', 'q=NEED&include_archived=true&limit=1', 'q=a%20needle&limit=7']) {
      const { found, pages } = await all(world, query)
      const archived = query.includes('archived')
      const numbers = found.map(({ title }) => Number(title.split(' ')[2]))
      expect(numbers).toEqual(archived ? [60, 120, 180, 240, 300] : [60, 120, 180, 240])
      if (!query.includes('a%20')) expect(pages).toBeGreaterThan(1)
    }
    expect((await all(world, 'q=hay%20stack')).found).toEqual([])
    const of = (token: string) => callJson('GET', '/api/v1/chats?q=needle', { token })
    expect((await of(world.developer.token)).data).toEqual([])
  })
})

describe('a chat with tags', () => {
  it('is listed under them as they are now, in the order of what was said', async () => {
    const world = await makeWorld()
    const { token } = world.member
    const agent = await callJson<Listed>('POST', '/api/v1/agents', {
      token: world.developer.token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const open = async (title: string, tags: string[]) =>
      (
        await callJson<Listed>('POST', '/api/v1/chats', {
          token,
          body: { agent_id: agent.data.id, title, tags },
        })
      ).data.id
    const titles = async (tag: string) => (await all(world, `tag=${tag}`)).found.map(({ title }) => title)
    const [one, two] = [await open('one', ['x', 'y']), await open('two', ['x'])]
    expect(await titles('x')).toEqual(['two', 'one'])
    await env.DB.prepare(
      "update chats set last_activity_at = '2999-01-01T00:00:00.000Z' where tenant_id = ? and id = ?",
    )
      .bind(world.tenant.id, one)
      .run()
    expect(await titles('x')).toEqual(['one', 'two'])
    await callJson('PATCH', `/api/v1/chats/${one}`, { token, body: { tags: ['z'] } })
    expect([await titles('x'), await titles('y'), await titles('z')]).toEqual([['two'], [], ['one']])
    await callJson('PATCH', `/api/v1/chats/${two}`, { token, body: { is_archived: true } })
    expect(await titles('x')).toEqual([])
    await callJson('PATCH', `/api/v1/chats/${two}`, { token, body: { is_archived: false } })
    expect(await titles('x')).toEqual(['two'])
    await callJson('DELETE', `/api/v1/chats/${two}`, { token })
    expect(await titles('x')).toEqual([])
    const left = await env.DB.prepare('select count(*) as n from chat_tags where tenant_id = ?')
      .bind(world.tenant.id)
      .first<number>('n')
    expect(left).toBe(1)
  })
})

describe('chats with an agent', () => {
  it('are found among many with others, also under a tag and among the archived, each page full', async () => {
    const world = await makeWorld()
    const user = world.member.user.id
    const { data: agent } = await callJson<Listed>('POST', '/api/v1/agents', {
      token: world.developer.token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const other = '0197b3c2-8f4e-7000-8000-0000000000aa'
    await env.DB.prepare(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < 900)
       insert into chats (tenant_id, id, user_id, agent_id, title, is_archived, tags, metadata, last_activity_at, created_at, updated_at)
       select ?1, printf('0197b3c2-8f4e-7000-8000-%012x', i), ?2, iif(i % 300 = 1, ?3, ?4), 'chat ' || i, i = 301,
         iif(i % 2 = 0, '[]', '["x"]'), '{}', printf('2026-01-31T10:%02d:%02d.000Z', i / 60, i % 60), '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z' from n`,
    )
      .bind(world.tenant.id, user, agent.id, other)
      .run()
    const only = async (query: string) => {
      const { found, pages } = await all(world, `limit=2&${query}`)
      return [found.map(({ title }) => Number(title.slice(5))), pages]
    }
    expect(await only(`agent_id=${agent.id}`)).toEqual([[601, 1], 1])
    expect(await only(`agent_id=${agent.id}&include_archived=true`)).toEqual([[601, 301, 1], 2])
    expect(await only(`agent_id=${agent.id}&tag=x&include_archived=true`)).toEqual([[601, 301, 1], 2])
    await env.DB.prepare("update chats set tags = '[]' where tenant_id = ? and title = 'chat 601'")
      .bind(world.tenant.id)
      .run()
    expect(await only(`agent_id=${agent.id}&tag=x`)).toEqual([[1], 1])
    const many = await all(world, `limit=100&agent_id=${other}&include_archived=true`)
    expect([many.found.length, many.pages]).toEqual([897, 9])
  })
})
