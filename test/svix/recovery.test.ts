import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { callJson } from '../world'
import { refusedWith, svixWorld, wrongFields } from './kit'

// What Svix's client asks to be done beside a request, and what becomes of an application's things.

const ago = (ms: number) => new Date(Date.now() - ms)

describe('what did not arrive', () => {
  it('is sent again by recover, and what was never sent by replay-missing; the task says how many', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'R' })
    // Gone for good with its first answer, as far as the delivery is concerned.
    const receiver = await makeReceiver({ status: 400, headers: { 'webhook-delivery': 'abort-message' } })
    const early = await svix.message.create(app.id, { eventType: 'a.before', payload: { n: 0 } })
    await eventually(async () =>
      env.DB.prepare('select id from events where id = ? and dispatched = 1').bind(early.id).first(),
    )
    const endpoint = await svix.endpoint.create(app.id, { url: receiver.url })
    const message = await svix.message.create(app.id, { eventType: 'a.b', payload: { n: 1 } })
    const failed = await eventually(async () => {
      const page = await svix.messageAttempt.listAttemptedMessages(app.id, endpoint.id, { status: 2 })
      return page.data[0]
    })
    expect(failed).toMatchObject({ id: message.id, status: 2, statusText: 'fail', nextAttempt: null })
    const attempts = await svix.messageAttempt.listByEndpoint(app.id, endpoint.id, { status: 2 })
    expect(attempts.data).toMatchObject([{ msgId: message.id, responseStatusCode: 400, status: 2 }])
    const none = await svix.messageAttempt.listByEndpoint(app.id, endpoint.id, { statusCodeClass: 500 })
    expect(none.data).toEqual([])

    await receiver.plan({ status: 200 })
    const task = await svix.endpoint.recover(app.id, endpoint.id, { since: ago(60_000) })
    expect(task).toMatchObject({
      ...{ id: expect.stringMatching(/^qtask_/), task: 'endpoint.recover', updatedAt: expect.any(Date) },
    })
    const done = await eventually(async () => {
      const now = await svix.backgroundTask.get(task.id)
      return now.status === 'finished' && now
    }, 15_000)
    expect(done).toMatchObject({ task: 'endpoint.recover', data: { messagesSent: 1 } })
    const bodies = async () => (await receiver.seen()).map(({ body }) => body)
    await eventually(async () => (await bodies()).length === 2)
    expect(await bodies()).toEqual(['{"n":1}', '{"n":1}'])

    const replay = await svix.endpoint.replayMissing(app.id, endpoint.id, { since: ago(60_000) })
    expect(replay.task).toBe('endpoint.replay')
    await eventually(async () => (await bodies()).length === 3, 15_000)
    expect((await bodies())[2]).toBe('{"n":0}')
    const replayed = await eventually(async () => {
      const now = await svix.backgroundTask.get(replay.id)
      return now.status === 'finished' && now
    }, 15_000)
    expect(replayed).toMatchObject({ task: 'endpoint.replay', data: { messagesSent: 1 } })

    const stats = await eventually(async () => {
      const now = await svix.endpoint.getStats(app.id, endpoint.id)
      return now.success === 2 && now.pending === 0 && now
    })
    expect(stats).toEqual({ success: 2, fail: 1, pending: 0, sending: 0, canceled: 0 })
    const past = await svix.endpoint.getStats(app.id, endpoint.id, {
      since: ago(7200_000 * 2),
      until: ago(7200_000),
    })
    expect(past).toMatchObject({ success: 0, fail: 0 })
    const long = svix.endpoint.getStats(app.id, endpoint.id, { since: ago(40 * 86_400_000) })
    expect(Object.keys(await wrongFields(long))).toEqual(['query.since'])
  }, 60_000)

  it('waits while its endpoint is disabled, and goes on when it is enabled', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'W' })
    const receiver = await makeReceiver({ status: 200 })
    const endpoint = await svix.endpoint.create(app.id, { url: receiver.url, disabled: true })
    const { id } = await svix.message.create(app.id, { eventType: 'a.b', payload: {} })
    const held = await eventually(async () => {
      const page = await svix.messageAttempt.listAttemptedDestinations(app.id, id)
      return page.data[0]
    })
    expect(held).toMatchObject({ id: endpoint.id, disabled: true, status: 1, statusText: 'pending' })
    expect(await refusedWith(svix.messageAttempt.resend(app.id, id, endpoint.id))).toMatchObject({
      ...{ status: 409, code: 'delivery_not_retryable' },
    })
    expect(await receiver.seen()).toEqual([])
    await svix.endpoint.patch(app.id, endpoint.id, { disabled: false })
    await eventually(async () => (await receiver.seen()).length === 1)
  }, 30_000)
})

describe('an application that is deleted', () => {
  it('takes its endpoints along, and what was on its way; its messages stay events of the tenant', async () => {
    const { svix, world } = await svixWorld()
    const app = await svix.application.create({ name: 'D', uid: 'd' })
    const receiver = await makeReceiver({ status: 503 })
    const held = await svix.endpoint.create(app.id, { url: receiver.url, disabled: true })
    const failing = await svix.endpoint.create(app.id, { url: receiver.url })
    const { id } = await svix.message.create(app.id, { eventType: 'a.b', payload: { n: 1 } })
    await eventually(async () => (await svix.messageAttempt.listByMsg(app.id, id)).data.length === 1)
    await svix.application.delete(app.id)
    expect(await refusedWith(svix.message.get(app.id, id))).toMatchObject({ status: 404 })
    for (const endpoint of [held, failing]) {
      const ours = await callJson('GET', `/api/v1/webhooks/${endpoint.id.slice(3)}`, { key: world.apiKey })
      expect(ours.status).toBe(404)
    }
    const { results } = await env.DB.prepare(
      'select status from deliveries where tenant_id = ? and event_id = ?',
    )
      .bind(world.tenant.id, id)
      .all()
    expect(results).toEqual([{ status: 'cancelled' }, { status: 'cancelled' }])
    const event = await callJson('GET', `/api/v1/events/${id}`, { key: world.apiKey })
    expect(event.data).toMatchObject({ application_id: app.id.slice(4), data: { n: 1 } })
  }, 30_000)
})

describe('lists', () => {
  it('of messages are paged forth and back, and by time', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'L' })
    const ids: string[] = []
    for (let i = 0; i < 5; i++) {
      ids.push((await svix.message.create(app.id, { eventType: 'a.b', payload: { i } })).id)
      await scheduler.wait(5)
    }
    const newest = ids.toReversed()
    const list = async (options: object) => {
      const page = await svix.message.list(app.id, options)
      return { ...page, ids: page.data.map(({ id }) => id) }
    }
    const first = await list({ limit: 2 })
    expect([first.ids, first.done, first.iterator, first.prevIterator]).toEqual([
      ...[newest.slice(0, 2), false, newest[1], `-${newest[0]}`],
    ])
    const second = await list({ limit: 2, iterator: first.iterator })
    expect(second.ids).toEqual(newest.slice(2, 4))
    const back = await list({ limit: 2, iterator: second.prevIterator })
    expect([back.ids, back.done]).toEqual([newest.slice(0, 2), true])
    const after = await list({ limit: 2, after: new Date(0) })
    expect([after.ids, after.done]).toEqual([[ids[1], ids[0]], false])
    const third = (await svix.message.get(app.id, ids[2] as string)).timestamp
    const before = await list({ before: third })
    expect(before.ids).toEqual([ids[1], ids[0]])
    expect(Object.keys(await wrongFields(svix.message.list(app.id, { iterator: 'x' })))).toEqual([
      'query.iterator',
    ])
  })

  it('of a message’s attempts are paged in the order of time', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'P' })
    const receivers = await Promise.all([1, 2, 3].map(() => makeReceiver({ status: 200 })))
    for (const { url } of receivers) await svix.endpoint.create(app.id, { url })
    const { id } = await svix.message.create(app.id, { eventType: 'a.b', payload: {} })
    const all = await eventually(async () => {
      const page = await svix.messageAttempt.listByMsg(app.id, id)
      return page.data.length === 3 && page.data.map((one) => one.id)
    })
    const first = await svix.messageAttempt.listByMsg(app.id, id, { limit: 2 })
    expect([first.data.map((one) => one.id), first.done]).toEqual([all.slice(0, 2), false])
    const iterator = first.iterator as string
    const rest = await svix.messageAttempt.listByMsg(app.id, id, { limit: 2, iterator })
    expect([rest.data.map((one) => one.id), rest.done]).toEqual([all.slice(2), true])
    const back = await svix.messageAttempt.listByMsg(app.id, id, {
      ...{ limit: 2, iterator: rest.prevIterator as string },
    })
    expect(back.data.map((one) => one.id)).toEqual(all.slice(0, 2))
    const destinations = await svix.messageAttempt.listAttemptedDestinations(app.id, id, { limit: 2 })
    expect([destinations.data.length, destinations.done]).toEqual([2, false])
  })
})

describe('statistics', () => {
  it('count the attempts of applications, and list the types that their endpoints name', async () => {
    const { svix } = await svixWorld()
    const receiver = await makeReceiver({ status: 200 })
    const apps = []
    for (let i = 0; i < 12; i++) apps.push(await svix.application.create({ name: `S${i}`, uid: `s${i}` }))
    const [one, two] = apps
    if (!one || !two) throw new Error('no applications')
    await svix.eventType.create({ name: 'a.b', description: '' })
    await svix.endpoint.create(one.id, { url: receiver.url, eventTypes: ['a.b'] })
    await svix.endpoint.create(two.id, { url: receiver.url })
    for (const n of [1, 2]) await svix.message.create(one.id, { eventType: 'a.b', payload: { n } })
    await eventually(async () => (await receiver.seen()).length === 2)
    const finished = (id: string) =>
      eventually(async () => {
        const task = await svix.backgroundTask.get(id)
        return task.status === 'finished' && task
      }, 15_000)
    const span = { since: ago(3_600_000), until: new Date() }
    const usage = await svix.statistics.aggregateAppStats(span)
    expect([usage.task, usage.unresolvedAppIds]).toEqual(['application.stats', []])
    const { data } = await finished(usage.id)
    const rows = (data as { appStats: { appId: string; messageDestinations: number }[] }).appStats
    expect(rows.map(({ appId }) => appId)).toEqual(apps.map(({ id }) => id))
    expect(rows[0]).toEqual({ appId: one.id, appUid: 's0', messageDestinations: 2 })
    const some = await svix.statistics.aggregateAppStats({ ...span, appIds: ['s0', two.id, 'none'] })
    expect(some.unresolvedAppIds).toEqual(['none'])
    expect((await finished(some.id)).data).toEqual({
      appStats: [
        { appId: one.id, appUid: 's0', messageDestinations: 2 },
        { appId: two.id, appUid: 's1', messageDestinations: 0 },
      ],
    })
    const types = await finished((await svix.statistics.aggregateEventTypes()).id)
    expect((types.data as { event_types: object[] }).event_types.slice(0, 2)).toEqual([
      { appId: one.id, explicitlySubscribedEventTypes: ['a.b'], hasCatchAllEndpoint: false },
      { appId: two.id, explicitlySubscribedEventTypes: [], hasCatchAllEndpoint: true },
    ])
  }, 60_000)
})
