import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { listTickets } from '../../src/domains/operations/tickets/list'
import { createTicket } from '../../src/domains/operations/tickets/service'
import { endedJob } from '../jobs/kit'
import { Client } from '../realtime/socket'
import { rowsRead } from '../rows-read'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makePerson, makeWorld, type Person, type World } from '../world'

type Ticket = {
  id: string
  number: number
  subject: string
  body: string
  status: string
  priority: string
  requester_id: string
  assignee_id: string | null
  solved_at: string | null
  closed_at: string | null
}
type Comment = { id: string; author_id: string | null; body: string; internal: boolean }

const PATH = '/api/v1/tickets'

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const open = async (by: Person, body: object = {}) => {
  const sent = { subject: 'Broken', body: 'It does not work', ...body }
  const { status, data, error } = await callJson<Ticket>('POST', PATH, { token: by.token, body: sent })
  expect([status, error]).toEqual([201, undefined])
  return data
}
const change = (by: Person, id: string, body: object) =>
  callJson<Ticket>('PATCH', `${PATH}/${id}`, { token: by.token, body })
const say = (by: Person, id: string, body: object) =>
  callJson<Comment>('POST', `${PATH}/${id}/comments`, { token: by.token, body })
const listed = async (by: Person, query = '') =>
  (await callJson<Ticket[]>('GET', `${PATH}${query}`, { token: by.token })).data.map(({ id }) => id)
const eventsOf = async (tenantId: string) => {
  const { results } = await env.DB.prepare(
    "select type, subject, data from events where tenant_id = ? and type like 'ticket.%' order by seq",
  )
    .bind(tenantId)
    .all<{ type: string; subject: string; data: string }>()
  return results.map(({ data, ...event }) => ({ ...event, data: JSON.parse(data) }))
}

describe('a ticket', () => {
  it('is opened by a member, is numbered, read back and announced', async () => {
    const own = await makeWorld()
    const first = await open(own.member)
    const second = await open(own.member, { priority: 'urgent' })
    expect([first.number, second.number]).toEqual([1, 2])
    expect(first).toMatchObject({
      ...{ subject: 'Broken', body: 'It does not work', status: 'open', priority: 'normal' },
      ...{ requester_id: own.member.user.id, assignee_id: null, solved_at: null, closed_at: null },
    })
    expect(first).not.toHaveProperty('seq')
    const read = await callJson<Ticket>('GET', `${PATH}/${first.id}`, { token: own.member.token })
    expect(read.data).toEqual(first)
    expect(read.headers.get('ETag')).toBe('"v1"')
    const [created] = await eventsOf(own.tenant.id)
    expect(created).toMatchObject({
      type: 'ticket.created',
      subject: own.member.user.id,
      data: { ticket_id: first.id, number: 1, body: 'It does not work', assignee_id: null },
    })
  })

  it('has a number that no other has, however many are opened at once', async () => {
    const own = await makeWorld()
    const made = await Promise.all(Array.from({ length: 20 }, () => open(own.member)))
    expect(made.map(({ number }) => number).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    )
  })

  it('is made once by an idempotency key', async () => {
    const own = await makeWorld()
    const body = { subject: 'Once', body: 'Once' }
    const headers = { 'Idempotency-Key': 'k' }
    const ask = () => callJson<Ticket>('POST', PATH, { token: own.member.token, headers, body })
    const first = await ask()
    const again = await ask()
    expect(again.data).toEqual(first.data)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect(await listed(own.member)).toEqual([first.data.id])
  })

  it('names users of the tenant, or is refused by the field', async () => {
    const stranger = (await makeWorld()).member.user.id
    const fields = async (body: object) => {
      const sent = { subject: 'x', body: 'x', ...body }
      const { status, error } = await callJson('POST', PATH, { token: world.admin.token, body: sent })
      return [status, Object.keys(error.details.fields ?? {})]
    }
    expect(await fields({ requester_id: stranger })).toEqual([422, ['requester_id']])
    expect(await fields({ assignee_id: stranger })).toEqual([422, ['assignee_id']])
    expect(await fields({ assignee_id: 'nobody' })).toEqual([422, ['assignee_id']])
    expect(await fields({ status: 'done', priority: 'highest', subject: ' ' })).toEqual([
      422,
      ['subject', 'priority', 'status'],
    ])
    expect(await fields({ colour: 'red' })).toEqual([422, ['colour']])
    const away = await makePerson(world.tenant, 'member')
    await callJson('PATCH', `/api/v1/users/${away.user.id}`, {
      token: world.admin.token,
      body: { status: 'suspended' },
    })
    expect(await fields({ assignee_id: away.user.id })).toEqual([422, ['assignee_id']])
    const patched = await change(world.admin, (await open(world.member)).id, { requester_id: stranger })
    expect([patched.status, Object.keys(patched.error.details.fields ?? {})]).toEqual([422, ['requester_id']])
  })
})

describe('who sees and does what', () => {
  it('a requester sees their own, an assignee those assigned to them, an admin all, others none', async () => {
    const own = await makeWorld()
    const worker = await makePerson(own.tenant, 'member')
    const ticket = await open(own.member)
    const other = await open(own.developer)
    await change(own.admin, ticket.id, { assignee_id: worker.user.id })
    expect(await listed(own.member)).toEqual([ticket.id])
    expect(await listed(worker)).toEqual([ticket.id])
    expect(await listed(own.developer)).toEqual([other.id])
    expect(await listed(own.viewer)).toEqual([])
    expect(await listed(own.admin)).toEqual([other.id, ticket.id])
    const seen = (by: Person) => call('GET', `${PATH}/${ticket.id}`, { token: by.token })
    expect((await seen(own.developer)).status).toBe(404)
    expect((await seen(own.viewer)).status).toBe(404)
    expect((await seen(worker)).status).toBe(200)
    expect((await change(own.developer, ticket.id, { status: 'solved' })).status).toBe(404)
    expect((await say(own.developer, ticket.id, { body: 'Hm' })).status).toBe(404)
    const comments = await call('GET', `${PATH}/${ticket.id}/comments`, { token: own.developer.token })
    expect(comments.status).toBe(404)
    // Asking for somebody else's by a filter finds none either.
    expect(await listed(own.developer, `?requester_id=${own.member.user.id}`)).toEqual([])
    expect(await listed(own.developer, `?assignee_id=${worker.user.id}`)).toEqual([])
    expect(await listed(worker, `?requester_id=${own.member.user.id}`)).toEqual([ticket.id])
  })

  it('a requester says that it is solved, and that it is not; nothing else', async () => {
    const { id } = await open(world.member)
    for (const body of [
      { priority: 'urgent' },
      { assignee_id: world.member.user.id },
      { subject: 'New' },
      { status: 'closed' },
      { status: 'pending' },
    ]) {
      const { status, error } = await change(world.member, id, body)
      expect([body, status, error.code]).toEqual([body, 403, 'insufficient_scope'])
    }
    const solved = await change(world.member, id, { status: 'solved' })
    expect([solved.status, solved.data.status]).toEqual([200, 'solved'])
    expect(solved.data.solved_at).toMatch(/^20/)
    const reopened = await change(world.member, id, { status: 'open' })
    expect([reopened.data.status, reopened.data.solved_at]).toEqual(['open', null])
    const refused = async (body: object) =>
      (
        await callJson('POST', PATH, {
          token: world.member.token,
          body: { subject: 'x', body: 'x', ...body },
        })
      ).status
    expect(await refused({ requester_id: world.admin.user.id })).toBe(403)
    expect(await refused({ assignee_id: world.member.user.id })).toBe(403)
    expect(await refused({ status: 'solved' })).toBe(403)
    expect((await call('POST', PATH, { token: world.viewer.token, body: {} })).status).toBe(403)
  })

  it('who it is assigned to works on it, and may hand it over', async () => {
    const worker = await makePerson(world.tenant, 'member')
    const { id } = await open(world.member)
    await change(world.admin, id, { assignee_id: worker.user.id })
    expect((await change(worker, id, { priority: 'high', status: 'pending' })).data).toMatchObject({
      priority: 'high',
      status: 'pending',
    })
    const handed = await change(worker, id, { assignee_id: world.admin.user.id })
    expect(handed.data.assignee_id).toBe(world.admin.user.id)
    expect((await change(worker, id, { status: 'open' })).status).toBe(404)
  })

  it('is open to no assignment by a stale version', async () => {
    const { id } = await open(world.member)
    const by = { token: world.admin.token, body: { priority: 'low' } }
    const path = `${PATH}/${id}`
    expect((await call('PATCH', path, { ...by, headers: { 'If-Match': '"v1"' } })).status).toBe(200)
    expect((await call('PATCH', path, { ...by, headers: { 'If-Match': '"v1"' } })).status).toBe(412)
  })

  it('an API key of nobody names the requester', async () => {
    await env.DB.prepare('update api_keys set created_by = null where tenant_id = ?')
      .bind(world.tenant.id)
      .run()
    const without = await callJson('POST', PATH, { key: world.apiKey, body: { subject: 'x', body: 'x' } })
    expect([without.status, Object.keys(without.error.details.fields ?? {})]).toEqual([422, ['requester_id']])
    const body = { subject: 'x', body: 'x', requester_id: world.member.user.id }
    const made = await callJson<Ticket>('POST', PATH, { key: world.apiKey, body })
    expect([made.status, made.data.requester_id]).toEqual([201, world.member.user.id])
  })

  it('is on record, with what was there before', async () => {
    const own = await makeWorld()
    const { id } = await open(own.member)
    await change(own.admin, id, { status: 'pending' })
    const { data } = await callJson<{ action: string; before: object; after: object }[]>(
      'GET',
      `/api/v1/audit?resource=ticket&resource_id=${id}`,
      { token: own.admin.token },
    )
    expect(data.map(({ action }) => action)).toEqual(['ticket.update', 'ticket.create'])
    expect(data[0]).toMatchObject({ before: { status: 'open' }, after: { status: 'pending' } })
    const [, updated] = await eventsOf(own.tenant.id)
    expect(updated).toMatchObject({
      type: 'ticket.updated',
      data: { ticket_id: id, status: 'pending', previous: { status: 'open' } },
    })
    // What changes nothing is not announced.
    await change(own.admin, id, { status: 'pending' })
    expect(await eventsOf(own.tenant.id)).toHaveLength(2)
  })
})

describe('comments', () => {
  it('are listed oldest first; internal notes only for who works on it', async () => {
    const own = await makeWorld()
    const { id } = await open(own.member)
    await say(own.member, id, { body: 'One' })
    await say(own.admin, id, { body: 'Note', internal: true })
    const last = await say(own.admin, id, { body: 'Two' })
    expect(last.headers.get('Location')).toBe(`${PATH}/${id}/comments`)
    const bodies = async (by: Person, query = '') => {
      const { data, meta } = await callJson<Comment[]>('GET', `${PATH}/${id}/comments${query}`, {
        token: by.token,
      })
      return { bodies: data.map(({ body }) => body), next: meta.next_cursor as string | null }
    }
    expect((await bodies(own.admin)).bodies).toEqual(['One', 'Note', 'Two'])
    expect((await bodies(own.member)).bodies).toEqual(['One', 'Two'])
    const page = await bodies(own.member, '?limit=1')
    expect(page.bodies).toEqual(['One'])
    expect(await bodies(own.member, `?limit=1&cursor=${page.next}`)).toEqual({ bodies: ['Two'], next: null })
    expect((await say(own.member, id, { body: 'Psst', internal: true })).status).toBe(403)
    expect((await say(own.member, id, { body: '' })).status).toBe(422)
    const types = (await eventsOf(own.tenant.id)).map(({ type, data }) => [type, data.internal])
    expect(types).toEqual([
      ['ticket.created', undefined],
      ['ticket.commented', false],
      ['ticket.commented', true],
      ['ticket.commented', false],
    ])
  })

  it('of the requester open it again; of others they do not; closed is closed until it is reopened', async () => {
    const own = await makeWorld()
    const { id } = await open(own.member)
    const status = async () =>
      (await callJson<Ticket>('GET', `${PATH}/${id}`, { token: own.admin.token })).data.status
    for (const waits of ['pending', 'solved']) {
      await change(own.admin, id, { status: waits })
      await say(own.admin, id, { body: 'Done?' })
      expect(await status()).toBe(waits)
      await say(own.member, id, { body: 'No' })
      expect(await status()).toBe('open')
    }
    await change(own.admin, id, { status: 'solved' })
    const closed = await change(own.admin, id, { status: 'closed' })
    expect(closed.data.closed_at).toMatch(/^20/)
    expect(closed.data.solved_at).toMatch(/^20/)
    const refused = await say(own.member, id, { body: 'Hello?' })
    expect([refused.status, refused.error.code]).toEqual([409, 'conflict'])
    expect((await change(own.member, id, { status: 'open' })).status).toBe(409)
    expect((await change(own.admin, id, { status: 'open' })).data).toMatchObject({
      ...{ status: 'open', closed_at: null, solved_at: null },
    })
    expect((await say(own.member, id, { body: 'Thanks' })).status).toBe(201)
  })
})

describe('lists', () => {
  it('are filtered by one field or several, newest first, page by page', async () => {
    const own = await makeWorld()
    const worker = await makePerson(own.tenant, 'member')
    const made: Ticket[] = []
    for (const status of ['open', 'pending', 'solved', 'closed'])
      for (const priority of ['low', 'normal', 'high', 'urgent'])
        made.push(
          await open(own.admin, {
            ...{ status, priority },
            requester_id: status === 'open' ? own.member.user.id : own.viewer.user.id,
            assignee_id: priority === 'high' ? worker.user.id : null,
          }),
        )
    const all = made.toReversed()
    const wanted = (by: (ticket: Ticket) => boolean) => all.filter(by).map(({ id }) => id)
    const [member, viewer, works] = [own.member.user.id, own.viewer.user.id, worker.user.id]
    const cases: [string, (ticket: Ticket) => boolean][] = [
      ['', () => true],
      ['status=pending', (one) => one.status === 'pending'],
      ['priority=high', (one) => one.priority === 'high'],
      ['status=open&priority=urgent', (one) => one.status === 'open' && one.priority === 'urgent'],
      [`requester_id=${viewer}`, (one) => one.requester_id === viewer],
      [
        `requester_id=${viewer}&status=solved`,
        (one) => one.requester_id === viewer && one.status === 'solved',
      ],
      [`requester_id=${viewer}&priority=low`, (one) => one.requester_id === viewer && one.priority === 'low'],
      [`assignee_id=${works}`, (one) => one.assignee_id === works],
      ['assignee_id=none', (one) => one.assignee_id === null],
      ['assignee_id=none&status=closed', (one) => one.assignee_id === null && one.status === 'closed'],
      [
        `assignee_id=${works}&requester_id=${member}`,
        (one) => one.assignee_id === works && one.requester_id === member,
      ],
      [
        `assignee_id=${works}&requester_id=${viewer}&status=solved`,
        (one) => one.assignee_id === works && one.requester_id === viewer && one.status === 'solved',
      ],
      [`number=${made[5]?.number}`, (one) => one.number === made[5]?.number],
      [`number=${made[5]?.number}&status=open`, () => false],
      ['created_after=2099-01-01T00:00:00Z', () => false],
      ['created_before=2099-01-01T00:00:00Z&priority=urgent', (one) => one.priority === 'urgent'],
    ]
    for (const [query, by] of cases) {
      const ids: string[] = []
      let cursor: unknown = ''
      do {
        const path = `${PATH}?limit=3&${query}${cursor ? `&cursor=${cursor}` : ''}`
        const { data, meta } = await callJson<Ticket[]>('GET', path, { token: own.admin.token })
        expect([query, data.length <= 3]).toEqual([query, true])
        ids.push(...data.map(({ id }) => id))
        cursor = meta.next_cursor
      } while (cursor)
      expect([query, ids]).toEqual([query, wanted(by)])
    }
    // The same of who sees some.
    const mine = (one: Ticket) => one.assignee_id === works
    expect(await listed(worker)).toEqual(wanted(mine))
    expect(await listed(worker, '?status=open')).toEqual(wanted((one) => mine(one) && one.status === 'open'))
    expect(await listed(own.viewer, '?priority=low')).toEqual(
      wanted((one) => one.requester_id === viewer && one.priority === 'low'),
    )
    for (const query of ['status=done', 'assignee_id=me', 'number=0', 'q=%21', 'color=red'])
      expect([query, (await call('GET', `${PATH}?${query}`, { token: own.admin.token })).status]).toEqual([
        query,
        422,
      ])
  })

  it('name once what one opened and works on oneself', async () => {
    const own = await makeWorld()
    const ticket = await open(own.admin, {
      ...{ requester_id: own.member.user.id, assignee_id: own.member.user.id },
    })
    expect(await listed(own.member)).toEqual([ticket.id])
    expect(await listed(own.member, `?requester_id=${own.member.user.id}`)).toEqual([ticket.id])
    expect(await listed(own.member, `?assignee_id=${own.member.user.id}`)).toEqual([ticket.id])
  })

  it('find words of subject and body, by those who may, as they are now', async () => {
    const own = await makeWorld()
    const invoice = await open(own.member, { subject: 'Invoice', body: 'Die Straße fehlt, 请重发' })
    const parcel = await open(own.developer, { subject: 'Parcel', body: 'lost) OR (tenant' })
    expect(await listed(own.admin, '?q=inv')).toEqual([invoice.id])
    expect(await listed(own.admin, `?q=${encodeURIComponent('请重')}`)).toEqual([invoice.id])
    expect(await listed(own.admin, '?q=STRASSE')).toEqual([])
    expect(await listed(own.admin, `?q=${encodeURIComponent('STRAßE fehlt')}`)).toEqual([invoice.id])
    expect(await listed(own.admin, `?q=${encodeURIComponent('lost) OR (invoice')}`)).toEqual([])
    expect(await listed(own.admin, '?q=lost')).toEqual([parcel.id])
    expect(await listed(own.admin, '?q=lost&status=closed')).toEqual([])
    expect(await listed(own.admin, '?q=lost&status=open&assignee_id=none')).toEqual([parcel.id])
    expect(await listed(own.member, '?q=parcel')).toEqual([])
    expect(await listed(own.member, '?q=invoice')).toEqual([invoice.id])
    // Who comes to work on it finds it; who does no more does not.
    await change(own.admin, parcel.id, { assignee_id: own.member.user.id })
    expect(await listed(own.member, '?q=parcel')).toEqual([parcel.id])
    await change(own.admin, parcel.id, { assignee_id: null, subject: 'Package' })
    expect(await listed(own.member, '?q=lost')).toEqual([])
    expect(await listed(own.admin, '?q=parcel')).toEqual([])
    expect(await listed(own.admin, '?q=package')).toEqual([parcel.id])
    const stranger = await makeWorld()
    expect(await listed(stranger.admin, '?q=package')).toEqual([])
  })

  it('of words go on beyond what a page looks at', async () => {
    const own = await makeWorld()
    const ids: string[] = []
    for (let i = 0; i < 5; i++) ids.unshift((await open(own.member, { subject: `word ${i}` })).id)
    const first = await callJson<Ticket[]>('GET', `${PATH}?q=word&limit=3`, { token: own.member.token })
    const path = `${PATH}?q=word&limit=3&cursor=${first.meta.next_cursor}`
    const second = await callJson<Ticket[]>('GET', path, { token: own.member.token })
    expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(ids)
    expect(second.meta.next_cursor).toBeNull()
  })

  it('of words read no row of the pages before', { timeout: 60_000 }, async () => {
    const own = await makeWorld()
    const sent = { body: 'x', status: 'open', priority: 'normal', assignee_id: null } as const
    for (let i = 0; i < 210; i++) await createTicket(own.ctx, { ...sent, subject: `word ${i}` })
    const read: number[] = []
    let cursor: string | undefined
    do {
      read.push(
        await rowsRead(own.ctx, async (ctx) => {
          const page = await listTickets(ctx, { limit: 70, cursor, q: 'word' })
          cursor = page.next_cursor ?? undefined
        }),
      )
    } while (cursor !== undefined)
    expect(read).toHaveLength(3)
    // The last page looks at the seventy that are left: each its word and its row, and then once more to show it.
    expect(read[2]).toBeLessThanOrEqual(70 * 5 + 10)
  })
})

describe('the channel of a ticket', () => {
  type Update = { ticket: Ticket; comment: Comment | null }

  it('says how it stands, each change and each comment, but no internal note', async () => {
    const { id } = await open(world.member)
    const client = await Client.of(world.member.token)
    await client.subscribe(`tickets:${id}`)
    const next = async () => (await client.next('ticket_update')).data as unknown as Update
    expect(await next()).toMatchObject({ ticket: { id, status: 'open' }, comment: null })
    await change(world.admin, id, { status: 'pending' })
    expect(await next()).toMatchObject({ ticket: { status: 'pending' }, comment: null })
    await say(world.admin, id, { body: 'Between us', internal: true })
    await say(world.admin, id, { body: 'And now?' })
    expect(await next()).toMatchObject({
      ticket: { status: 'pending' },
      comment: { body: 'And now?', internal: false, author_id: world.admin.user.id },
    })
    await say(world.member, id, { body: 'Still' })
    expect(await next()).toMatchObject({ ticket: { status: 'open' }, comment: { body: 'Still' } })
    expect(JSON.stringify(client.seen)).not.toContain('Between us')
  })

  it('is nobody’s who may not read it, nor any longer who may not', async () => {
    const worker = await makePerson(world.tenant, 'member')
    const { id } = await open(world.member)
    const refused = await Client.of(worker.token)
    refused.send({ type: 'subscribe', channel: `tickets:${id}` })
    expect(await refused.next('error')).toMatchObject({ code: 'not_found' })
    await change(world.admin, id, { assignee_id: worker.user.id })
    const client = await Client.of(worker.token)
    await client.subscribe(`tickets:${id}`)
    await client.next('ticket_update')
    const staff = await Client.of(world.admin.token)
    await staff.subscribe(`tickets:${id}`)
    await staff.next('ticket_update')
    await change(world.admin, id, { assignee_id: null })
    // What was looked up at most five seconds ago holds.
    await eventually(async () => {
      await change(world.admin, id, { subject: `Broken ${Date.now()}` })
      return client.closed?.code === 4403
    })
    await staff.next('ticket_update')
    expect(staff.closed).toBeNull()
  })
})

describe('who leaves', () => {
  it('works on nothing any more; what they opened stays', async () => {
    const own = await makeWorld()
    const worker = await makePerson(own.tenant, 'member')
    const theirs = await open(worker)
    const ticket = await open(own.member)
    await change(own.admin, ticket.id, { assignee_id: worker.user.id })
    const gone = await call('DELETE', `/api/v1/users/${worker.user.id}`, { token: own.admin.token })
    expect(gone.status).toBe(204)
    const read = async (id: string) =>
      (await callJson<Ticket>('GET', `${PATH}/${id}`, { token: own.admin.token })).data
    await eventually(async () => (await read(ticket.id)).assignee_id === null)
    expect((await read(theirs.id)).requester_id).toBe(worker.user.id)
    expect(await listed(own.admin, '?assignee_id=none')).toEqual([ticket.id, theirs.id])
  })

  it('is taken from all tickets, each once with its event, as a job', async () => {
    const own = await makeWorld()
    const worker = await makePerson(own.tenant, 'member')
    const ids: string[] = []
    for (let i = 0; i < 25; i++) {
      const { id } = await open(own.member)
      await change(own.admin, id, { assignee_id: worker.user.id })
      ids.push(id)
    }
    const token = own.admin.token
    const { data: solved } = await callJson<Ticket>('PATCH', `${PATH}/${ids[0]}`, {
      token,
      body: { status: 'closed' },
    })
    expect(solved.status).toBe('closed')
    expect((await call('DELETE', `/api/v1/users/${worker.user.id}`, { token })).status).toBe(204)
    const jobs = await callJson<{ id: string; kind: string }[]>('GET', '/api/v1/jobs', { token })
    expect(jobs.data.map(({ kind }) => kind)).toEqual(['tickets.unassign'])
    const job = await endedJob(own, jobs.data[0]?.id ?? '')
    expect([job.status, job.result]).toEqual(['completed', { tickets: 25 }])
    const { results } = await env.DB.prepare(
      `select json_extract(data, '$.ticket_id') as id, json_extract(data, '$.assignee_id') as assignee,
        json_extract(data, '$.previous') as previous from events
       where tenant_id = ? and type = 'ticket.updated' and json_extract(data, '$.previous.assignee_id') is not null`,
    )
      .bind(own.tenant.id)
      .all<{ id: string; assignee: string | null; previous: string }>()
    expect(results.map(({ id }) => id).sort()).toEqual([...ids].sort())
    for (const { assignee, previous } of results)
      expect([assignee, JSON.parse(previous)]).toEqual([null, { assignee_id: worker.user.id }])
    expect((await listed(own.admin, '?assignee_id=none&limit=100')).sort()).toEqual([...ids].sort())
    // Who works on nothing leaves nothing to do.
    const other = await makePerson(own.tenant, 'member')
    expect((await call('DELETE', `/api/v1/users/${other.user.id}`, { token })).status).toBe(204)
    expect((await callJson<object[]>('GET', '/api/v1/jobs', { token })).data).toHaveLength(1)
  })
})
