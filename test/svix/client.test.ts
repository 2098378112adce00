import { env } from 'cloudflare:workers'
import { Ordering, Webhook } from 'svix'
import { beforeAll, describe, expect, it } from 'vitest'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { callJson, type World } from '../world'
import { clientOf, refusedWith, svixWorld, wrongFields } from './kit'

// Svix's own client (npm `svix`), unchanged, against the routes that speak its protocol.

let world: World
let svix: ReturnType<typeof clientOf>
beforeAll(async () => {
  ;({ world, svix } = await svixWorld())
})

const some = () => crypto.randomUUID()

describe('applications', () => {
  it('are made, read by id and uid, changed, listed and deleted', async () => {
    const uid = `acme-${some()}`
    const app = await svix.application.create({ name: 'Acme', uid, metadata: { plan: 'pro' } })
    expect(app).toEqual({
      ...{ id: expect.stringMatching(/^app_[0-9a-f-]{36}$/), uid, name: 'Acme', throttleRate: null },
      ...{ metadata: { plan: 'pro' }, createdAt: expect.any(Date), updatedAt: expect.any(Date) },
    })
    expect(await svix.application.get(app.id)).toEqual(app)
    expect(await svix.application.get(uid)).toEqual(app)
    const patched = await svix.application.patch(uid, { name: 'Acme Inc.' })
    expect(patched).toMatchObject({ id: app.id, uid, name: 'Acme Inc.', metadata: { plan: 'pro' } })
    const put = await svix.application.upsert(uid, { name: 'Acme Ltd.' })
    expect(put).toMatchObject({ id: app.id, uid, name: 'Acme Ltd.', metadata: {} })
    const listed = await svix.application.list({ limit: 250, order: Ordering.Descending })
    expect(listed.data[0]).toEqual(put)
    await svix.application.delete(uid)
    expect(await refusedWith(svix.application.get(app.id))).toMatchObject({ status: 404, code: 'not_found' })
    expect(await refusedWith(svix.application.get(uid))).toMatchObject({ status: 404, code: 'not_found' })
    // The uid is free again.
    expect((await svix.application.create({ name: 'Again', uid })).id).not.toBe(app.id)
  })

  it('are got or made by their uid', async () => {
    const uid = some()
    const made = await svix.application.getOrCreate({ name: 'One', uid })
    expect((await svix.application.getOrCreate({ name: 'Two', uid })).id).toBe(made.id)
    expect(await refusedWith(svix.application.create({ name: 'Three', uid }))).toMatchObject({
      ...{ status: 409, code: 'conflict' },
    })
    const upserted = await svix.application.upsert(`new-${uid}`, { name: 'By uid' })
    expect(upserted).toMatchObject({ uid: `new-${uid}`, name: 'By uid' })
  })

  it('are one where fifty ask at once', async () => {
    const uid = some()
    const ask = () =>
      svix.application.getOrCreate({ name: 'Race', uid }).catch((e: { code: number }) => e.code)
    const answers = await Promise.all(Array.from({ length: 50 }, ask))
    const ids = new Set(answers.flatMap((one) => (typeof one === 'object' && 'id' in one ? [one.id] : [])))
    expect(ids.size).toBe(1)
    expect(new Set(answers.filter((one) => typeof one === 'number'))).toEqual(
      answers.some((one) => typeof one === 'number') ? new Set([409]) : new Set(),
    )
  })

  it('refuse what is wrong by its place', async () => {
    expect(await wrongFields(svix.application.create({ name: '', uid: 'app_mine' }))).toEqual({
      'body.name': 'must have at least one character',
      'body.uid': 'must not begin with app_, as ids do',
    })
    expect(Object.keys(await wrongFields(svix.application.create({ name: 'x', throttleRate: 5 })))).toEqual([
      'body.throttleRate',
    ])
    expect(Object.keys(await wrongFields(svix.application.get('not an id!')))).toEqual(['path.app_id'])
    expect(Object.keys(await wrongFields(svix.application.list({ limit: 251 })))).toEqual(['query.limit'])
    expect(Object.keys(await wrongFields(svix.application.list({ iterator: 'ep_x' })))).toEqual([
      'query.iterator',
    ])
    const big = { big: 'x'.repeat(5000) }
    expect(Object.keys(await wrongFields(svix.application.create({ name: 'x', metadata: big })))).toEqual([
      'body.metadata',
    ])
  })

  it('are paged forth and back', async () => {
    const own = (await svixWorld()).svix
    const made: string[] = []
    for (let i = 0; i < 5; i++) made.push((await own.application.create({ name: `App ${i}` })).id)
    const first = await own.application.list({ limit: 2 })
    expect(first).toMatchObject({ iterator: made[1], prevIterator: `-${made[0]}`, done: false })
    const second = await own.application.list({ limit: 2, iterator: first.iterator as string })
    expect(second.data.map(({ id }) => id)).toEqual(made.slice(2, 4))
    const third = await own.application.list({ limit: 2, iterator: second.iterator as string })
    expect([third.data.map(({ id }) => id), third.done]).toEqual([made.slice(4), true])
    const back = await own.application.list({ limit: 2, iterator: third.prevIterator as string })
    expect(back.data.map(({ id }) => id)).toEqual(made.slice(2, 4))
    const start = await own.application.list({ limit: 9, iterator: back.prevIterator as string })
    expect([start.data.map(({ id }) => id), start.done]).toEqual([made.slice(0, 2), true])
    const down = await own.application.list({ limit: 2, order: Ordering.Descending })
    expect(down.data.map(({ id }) => id)).toEqual([made[4], made[3]])
    const empty = await own.application.list({ limit: 2, iterator: made[4] as string })
    expect(empty).toEqual({ data: [], iterator: null, prevIterator: null, done: true })
  })
})

describe('who calls', () => {
  it('is known by the key alone, and refused as Svix refuses', async () => {
    expect(await refusedWith(clientOf('sk_live_nobody').application.list())).toMatchObject({
      ...{ status: 401, code: 'authentication_failed' },
    })
    const key = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'reads', scopes: ['webhooks:read'] },
    })
    const reader = clientOf(key.data.key)
    expect((await reader.application.list()).done).toBe(true)
    const refused = await refusedWith(reader.application.create({ name: 'x' }))
    expect(refused).toMatchObject({ status: 403, code: 'insufficient_scope' })
    expect(refused.detail).toContain('webhooks:write')
  })

  it('sees no application of another tenant', async () => {
    const app = await svix.application.create({ name: 'Mine', uid: some() })
    const other = await svixWorld()
    for (const ref of [app.id, app.uid as string])
      expect(await refusedWith(other.svix.application.get(ref))).toMatchObject({ status: 404 })
    expect((await other.svix.application.list()).data).toEqual([])
  })
})

describe('event types', () => {
  it('are made, listed, changed, archived, made again and removed', async () => {
    const { svix: own } = await svixWorld()
    const schemas = { '1': { type: 'object', properties: { email: { type: 'string' } } } }
    const made = await own.eventType.create({
      ...{ name: 'user.created', description: 'A user', schemas, groupName: 'user', featureFlags: ['beta'] },
    })
    expect(made).toMatchObject({
      ...{ name: 'user.created', description: 'A user', archived: false, deprecated: false, schemas },
      ...{ groupName: 'user', featureFlags: ['beta'] },
    })
    await own.eventType.create({ name: 'invoice.paid', description: '' })
    expect(await own.eventType.get('user.created')).toEqual(made)
    const listed = await own.eventType.list()
    expect(listed.data.map((one) => [one.name, one.schemas])).toEqual([
      ['invoice.paid', null],
      ['user.created', null],
    ])
    expect((await own.eventType.list({ withContent: true })).data[1]?.schemas).toEqual(schemas)
    expect(await refusedWith(own.eventType.create({ name: 'user.created', description: '' }))).toMatchObject({
      status: 409,
      code: 'conflict',
    })
    const patched = await own.eventType.patch('user.created', { deprecated: true })
    expect(patched).toMatchObject({ description: 'A user', deprecated: true, schemas, groupName: 'user' })
    await own.eventType.delete('user.created')
    expect((await own.eventType.list()).data.map(({ name }) => name)).toEqual(['invoice.paid'])
    const all = await own.eventType.list({ includeArchived: true })
    expect(all.data.map(({ name, archived }) => [name, archived])).toEqual([
      ['invoice.paid', false],
      ['user.created', true],
    ])
    const again = await own.eventType.create({ name: 'user.created', description: 'Anew' })
    expect(again).toMatchObject({ description: 'Anew', archived: false, schemas: null, deprecated: false })
    await own.eventType.delete('user.created', { expunge: true })
    expect(await refusedWith(own.eventType.get('user.created'))).toMatchObject({ status: 404 })
    const upserted = await own.eventType.upsert('order.paid', { description: 'Paid' })
    expect(upserted).toMatchObject({ name: 'order.paid', description: 'Paid' })
  })
})

describe('endpoints', () => {
  const url = `${env.RECEIVER_URL}/hook/to?key=none`

  it('are made, read, changed, paused and deleted', async () => {
    const app = await svix.application.create({ name: 'E', uid: some() })
    await svix.eventType.create({ name: `a.${some()}`, description: '' }).catch(() => null)
    const made = await svix.endpoint.create(app.id, {
      ...{ url, description: 'One', uid: 'main', throttleRate: 20, channels: ['x'], metadata: { a: 'b' } },
    })
    expect(made).toMatchObject({
      ...{ id: expect.stringMatching(/^ep_[0-9a-f-]{36}$/), url, description: 'One', uid: 'main' },
      ...{ throttleRate: 20, eventTypes: null, channels: ['x'], disabled: false, metadata: { a: 'b' } },
    })
    expect(await svix.endpoint.get(app.uid as string, 'main')).toEqual(made)
    const patched = await svix.endpoint.patch(app.id, 'main', { disabled: true, channels: null })
    expect(patched).toMatchObject({ disabled: true, channels: null, description: 'One', throttleRate: 20 })
    const put = await svix.endpoint.upsert(app.id, made.id, { url: `${url}2` })
    expect(put).toMatchObject({
      ...{ id: made.id, url: `${url}2`, description: '', throttleRate: null, disabled: false, metadata: {} },
    })
    const second = await svix.endpoint.upsert(app.id, 'second', { url })
    expect(second).toMatchObject({ uid: 'second' })
    const listed = await svix.endpoint.list(app.id)
    expect([listed.data.map(({ id }) => id), listed.done]).toEqual([[second.id, made.id], true])
    // Causeway's own routes show whose it is.
    const ours = await callJson<{ application_id: string; payload: string; signature_profile: string }>(
      'GET',
      `/api/v1/webhooks/${made.id.slice(3)}`,
      { key: world.apiKey },
    )
    expect(ours.data).toMatchObject({
      ...{ application_id: app.id.slice(4), payload: 'data', signature_profile: 'svix' },
    })
    await svix.endpoint.delete(app.id, 'second')
    expect(await refusedWith(svix.endpoint.get(app.id, second.id))).toMatchObject({ status: 404 })
  })

  it('have a uid of their own in each application', async () => {
    const [one, two] = await Promise.all([1, 2].map((n) => svix.application.create({ name: `U${n}` })))
    if (!one || !two) throw new Error('no applications')
    const first = await svix.endpoint.create(one.id, { url, uid: 'same' })
    const other = await svix.endpoint.create(two.id, { url, uid: 'same' })
    expect((await svix.endpoint.get(one.id, 'same')).id).toBe(first.id)
    expect((await svix.endpoint.get(two.id, 'same')).id).toBe(other.id)
    expect(await refusedWith(svix.endpoint.get(two.id, first.id))).toMatchObject({ status: 404 })
    expect(await refusedWith(svix.endpoint.create(one.id, { url, uid: 'same' }))).toMatchObject({
      status: 409,
    })
    // Nor is it one of the tenant's own.
    const ours = await callJson('PUT', '/api/v1/webhooks/by-uid/same', {
      key: world.apiKey,
      body: { url, event_types: ['order.*'] },
    })
    expect(ours.status).toBe(200)
  })

  it('take event types that there are', async () => {
    const app = await svix.application.create({ name: 'T' })
    const name = `order.${some()}`
    const refused = await wrongFields(svix.endpoint.create(app.id, { url, eventTypes: [name] }))
    expect(refused['body.eventTypes']).toContain(name)
    await svix.eventType.create({ name, description: '' })
    const made = await svix.endpoint.create(app.id, { url, eventTypes: [name] })
    expect(made.eventTypes).toEqual([name])
    await svix.eventType.delete(name)
    const archived = await wrongFields(svix.endpoint.patch(app.id, made.id, { eventTypes: [name] }))
    expect(Object.keys(archived)).toEqual(['body.eventTypes'])
    expect((await svix.endpoint.patch(app.id, made.id, { description: 'still' })).eventTypes).toEqual([name])
  })

  it('have secrets, which rotate', async () => {
    const app = await svix.application.create({ name: 'S' })
    const secret = `whsec_${btoa('x'.repeat(24))}`
    const made = await svix.endpoint.create(app.id, { url, secret })
    expect(await svix.endpoint.getSecret(app.id, made.id)).toEqual({ key: secret })
    await svix.endpoint.rotateSecret(app.id, made.id, {})
    const kept = await env.DB.prepare('select secrets from endpoints where id = ?')
      .bind(made.id.slice('ep_'.length))
      .first<string>('secrets')
    const ends = (JSON.parse(kept ?? '[]') as { expires_at: string | null }[]).map((one) => one.expires_at)
    const day = Date.parse(ends.find((end) => end !== null) ?? '') - Date.now()
    expect([ends.length, Math.round(day / 3_600_000)]).toEqual([2, 24])
    const { key } = await svix.endpoint.getSecret(app.id, made.id)
    expect(key).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const bare = btoa('y'.repeat(32))
    await svix.endpoint.rotateSecret(app.id, made.id, { key: bare, gracePeriodSeconds: 0 })
    expect(await svix.endpoint.getSecret(app.id, made.id)).toEqual({ key: `whsec_${bare}` })
    expect(await wrongFields(svix.endpoint.create(app.id, { url, secret: 'whsec_short' }))).toEqual({
      'body.secret': 'must be the base64 of 24 to 64 bytes, after whsec_ or without',
    })
    const week = svix.endpoint.rotateSecret(app.id, made.id, { gracePeriodSeconds: 604_801 })
    expect(Object.keys(await wrongFields(week))).toEqual(['body.gracePeriodSeconds'])
  })

  it('have headers', async () => {
    const app = await svix.application.create({ name: 'H' })
    const { id } = await svix.endpoint.create(app.id, { url, headers: { 'X-One': '1' } })
    expect(await svix.endpoint.getHeaders(app.id, id)).toEqual({ headers: { 'X-One': '1' }, sensitive: [] })
    await svix.endpoint.setHeaders(app.id, id, { headers: { 'X-Two': '2', Authorization: 'Bearer abc' } })
    expect(await svix.endpoint.getHeaders(app.id, id)).toEqual({
      ...{ headers: { 'X-Two': '2' }, sensitive: ['Authorization'] },
    })
    await svix.endpoint.patchHeaders(app.id, id, { headers: { 'X-Three': '3' }, deleteHeaders: ['x-two'] })
    expect(await svix.endpoint.getHeaders(app.id, id)).toEqual({
      ...{ headers: { 'X-Three': '3' }, sensitive: ['Authorization'] },
    })
    const forbidden = await wrongFields(svix.endpoint.setHeaders(app.id, id, { headers: { Host: 'x' } }))
    expect(Object.keys(forbidden)).toEqual(['body.headers.Host'])
  })

  it('have no transformations, and say so', async () => {
    const app = await svix.application.create({ name: 'X' })
    const { id } = await svix.endpoint.create(app.id, { url })
    expect(await svix.endpoint.transformation.get(app.id, id)).toMatchObject({ code: null, enabled: false })
    const code = 'function handler(webhook) { return webhook }'
    const refused = await wrongFields(svix.endpoint.transformation.patch(app.id, id, { code, enabled: true }))
    expect(refused['body.code']).toContain('transformations are not available')
    await svix.endpoint.transformation.patch(app.id, id, { enabled: false })
  })

  it('refuse URLs that may not be called', async () => {
    const app = await svix.application.create({ name: 'Url' })
    for (const bad of ['http://169.254.169.254/latest', 'ftp://example.com', 'nonsense', ''])
      expect([bad, Object.keys(await wrongFields(svix.endpoint.create(app.id, { url: bad })))]).toEqual([
        bad,
        ['body.url'],
      ])
  })
})

describe('messages', () => {
  it('reach the endpoints of their application and no others, signed as Svix signs', async () => {
    const [app, other] = await Promise.all([
      svix.application.create({ name: 'M', uid: some() }),
      svix.application.create({ name: 'N' }),
    ])
    const [mine, theirs, tenants] = await Promise.all([1, 2, 3].map(() => makeReceiver({ status: 200 })))
    if (!mine || !theirs || !tenants) throw new Error('no receivers')
    const secret = `whsec_${btoa('z'.repeat(32))}`
    const endpoint = await svix.endpoint.create(app.id, { url: mine.url, secret })
    await svix.endpoint.create(other.id, { url: theirs.url })
    await callJson('POST', '/api/v1/webhooks', {
      key: world.apiKey,
      body: { url: tenants.url, event_types: ['*'] },
    })
    const payload = { email: 'ada@example.com', n: 1 }
    const message = await svix.message.create(
      app.uid as string,
      { eventType: 'user.created', eventId: 'evt-1', payload, channels: ['c'] },
      { withContent: true },
    )
    expect(message).toMatchObject({
      ...{ id: expect.stringMatching(/^msg_/), eventId: 'evt-1', eventType: 'user.created', payload },
      ...{ channels: ['c'], timestamp: expect.any(Date) },
    })
    const request = await eventually(async () => (await mine.seen())[0])
    const signed = request.headers
    new Webhook(secret).verify(request.body, signed)
    expect(() => new Webhook(`whsec_${btoa('a'.repeat(32))}`).verify(request.body, signed)).toThrow()
    expect(JSON.parse(request.body)).toEqual(payload)
    expect(request.headers['svix-id']).toBe(message.id)
    await scheduler.wait(300)
    expect([await theirs.seen(), await tenants.seen()]).toEqual([[], []])

    // Read and listed.
    expect(await svix.message.get(app.id, 'evt-1', { withContent: true })).toEqual(message)
    expect((await svix.message.get(app.id, message.id)).payload).toEqual({})
    const list = await svix.message.list(app.id, { withContent: true })
    expect([list.data, list.done, list.iterator]).toEqual([[message], true, message.id])
    expect((await svix.message.list(other.id)).data).toEqual([])
    expect((await svix.message.list(app.id, { channel: 'd' })).data).toEqual([])
    expect(
      (await svix.message.list(app.id, { channel: 'c', eventTypes: ['user.created'] })).data,
    ).toHaveLength(1)
    expect((await svix.message.list(app.id, { eventTypes: ['x.y', 'z'] })).data).toEqual([])

    // What became of it.
    const attempts = await eventually(async () => {
      const page = await svix.messageAttempt.listByEndpoint(app.id, endpoint.id, { withMsg: true })
      return page.data.length > 0 && page
    })
    expect(attempts.data[0]).toMatchObject({
      ...{ msgId: message.id, endpointId: endpoint.id, url: mine.url, status: 0, statusText: 'success' },
      ...{ responseStatusCode: 200, triggerType: 0, response: '{}', msg: { id: message.id } },
    })
    const byMsg = await svix.messageAttempt.listByMsg(app.id, 'evt-1', { withContent: true })
    expect(byMsg.data.map(({ id }) => id)).toEqual(attempts.data.map(({ id }) => id))
    const attemptId = byMsg.data[0]?.id ?? ''
    expect(await svix.messageAttempt.get(app.id, message.id, attemptId)).toEqual(byMsg.data[0])
    const stands = await eventually(async () => {
      const page = await svix.messageAttempt.listAttemptedMessages(app.id, endpoint.id)
      return page.data[0]?.status === 0 && page
    })
    expect(stands.data[0]).toMatchObject({
      id: message.id,
      status: 0,
      statusText: 'success',
      nextAttempt: null,
    })
    const destinations = await svix.messageAttempt.listAttemptedDestinations(app.id, message.id)
    expect(destinations.data).toMatchObject([{ id: endpoint.id, status: 0, url: mine.url }])

    // Again, by hand.
    await svix.messageAttempt.resend(app.id, message.id, endpoint.id)
    const twice = await eventually(async () => {
      const page = await svix.messageAttempt.listByEndpoint(app.id, endpoint.id)
      return page.data.length === 2 && page
    })
    expect(twice.data.map(({ triggerType }) => triggerType)).toEqual([1, 0])
    expect(await mine.seen()).toHaveLength(2)
    const one = await svix.messageAttempt.listByEndpoint(app.id, endpoint.id, { limit: 1 })
    expect([one.data[0]?.id, one.done]).toEqual([twice.data[0]?.id, false])
    const next = await svix.messageAttempt.listByEndpoint(app.id, endpoint.id, {
      ...{ limit: 1, iterator: one.iterator as string },
    })
    expect([next.data[0]?.id, next.done]).toEqual([twice.data[1]?.id, true])
  })

  it('come once by their eventId, and once by their key', async () => {
    const app = await svix.application.create({ name: 'Once' })
    const send = (eventId: string) => svix.message.create(app.id, { eventType: 'a.b', eventId, payload: {} })
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        send('once').then(
          () => 202,
          (e: { code: number }) => e.code,
        ),
      ),
    )
    expect(answers.filter((one) => one === 202)).toHaveLength(1)
    expect(new Set(answers)).toEqual(new Set([202, 409]))
    expect((await svix.message.list(app.id)).data).toHaveLength(1)
    const other = await svix.application.create({ name: 'Other' })
    await svix.message.create(other.id, { eventType: 'a.b', eventId: 'once', payload: {} })
    const keyed = () =>
      svix.message.create(app.id, { eventType: 'a.b', payload: { n: 1 } }, { idempotencyKey: 'k-1' })
    const [first, second] = [await keyed(), await keyed()]
    expect(second).toEqual(first)
    expect((await svix.message.list(app.id)).data).toHaveLength(2)
  })

  it('make their application where they bring it along', async () => {
    const uid = some()
    const message = { eventType: 'a.b', payload: {}, application: { name: 'Implicit', uid } }
    expect((await svix.message.create(uid, message)).eventType).toBe('a.b')
    await svix.message.create(uid, message)
    const app = await svix.application.get(uid)
    expect([app.name, (await svix.message.list(app.id)).data.length]).toEqual(['Implicit', 2])
    const wrong = await wrongFields(svix.message.create(some(), message))
    expect(Object.keys(wrong)).toEqual(['body.application.uid'])
    const missing = svix.message.create(some(), { eventType: 'a.b', payload: {} })
    expect(await refusedWith(missing)).toMatchObject({ status: 404, code: 'not_found' })
  })

  it('are refused where they ask for what there is not, or are too large', async () => {
    const app = await svix.application.create({ name: 'Refuse' })
    const base = { eventType: 'a.b', payload: {} }
    const fields = async (more: object) =>
      Object.keys(await wrongFields(svix.message.create(app.id, { ...base, ...more } as never)))
    expect(await fields({ deliverAt: new Date() })).toEqual(['body.deliverAt'])
    expect(await fields({ payloadRetentionPeriod: 5 })).toEqual(['body.payloadRetentionPeriod'])
    expect(await fields({ transformationsParams: { rawPayload: 'x' } })).toEqual([
      'body.transformationsParams',
    ])
    expect(await fields({ payload: [1] })).toEqual(['body.payload'])
    expect(await fields({ eventType: 'no spaces' })).toEqual(['body.eventType'])
    expect(await fields({ channels: ['1', '2', '3', '4', '5', '6'] })).toEqual(['body.channels'])
    const large = svix.message.create(app.id, { ...base, payload: { x: 'x'.repeat(256 * 1024) } })
    expect(await refusedWith(large)).toMatchObject({ status: 413, code: 'payload_too_large' })
    expect((await svix.message.list(app.id)).data).toEqual([])
  })
})
