import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Job } from '../../src/domains/jobs/schema'
import { firstIdAt } from '../../src/lib/ids'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { callJson } from '../world'
import { refusedWith, svixWorld, wrongFields } from './kit'

// What of Svix's client is asked for less often.

const ago = (ms: number) => new Date(Date.now() - ms)
const ids = ({ data }: { data: { id: string }[] }) => data.map(({ id }) => id)

async function finished(svix: Awaited<ReturnType<typeof svixWorld>>['svix'], id: string) {
  return eventually(async () => {
    const task = await svix.backgroundTask.get(id)
    return task.status === 'finished' && task
  }, 15_000)
}

describe('tags and channels', () => {
  it('find messages, and the attempts of them', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'Tags' })
    const receiver = await makeReceiver({ status: 200 })
    const endpoint = await svix.endpoint.create(app.id, { url: receiver.url })
    const send = (more: object) => svix.message.create(app.id, { eventType: 'a.b', payload: {}, ...more })
    const red = await send({ tags: ['red', 'red', 'project/7'] })
    const blue = await send({ tags: ['blue'], channels: ['c'] })
    const plain = await send({})
    expect([red.tags, blue.tags, plain.tags]).toEqual([['red', 'project/7'], ['blue'], null])
    expect((await svix.message.get(app.id, red.id)).tags).toEqual(['red', 'project/7'])
    expect(ids(await svix.message.list(app.id, { tag: 'red' }))).toEqual([red.id])
    expect(ids(await svix.message.list(app.id, { tag: 'project/7', channel: 'c' }))).toEqual([])
    await eventually(
      async () => (await svix.messageAttempt.listByEndpoint(app.id, endpoint.id)).data.length === 3,
    )

    const { listByEndpoint, listByMsg, listAttemptedMessages } = svix.messageAttempt
    const attempts = listByEndpoint.bind(svix.messageAttempt, app.id, endpoint.id)
    const byTag = await attempts({ tag: 'red', withMsg: true })
    expect(byTag.data).toMatchObject([{ msgId: red.id, msg: { id: red.id, tags: ['red', 'project/7'] } }])
    const byChannel = await attempts({ channel: 'c' })
    expect([byChannel.data.map((one) => [one.msgId, one.msg]), byChannel.done]).toEqual([
      [[blue.id, undefined]],
      true,
    ])
    const messages = listAttemptedMessages.bind(svix.messageAttempt, app.id, endpoint.id)
    expect(ids(await messages({ tag: 'blue' }))).toEqual([blue.id])
    const ofMessage = listByMsg.bind(svix.messageAttempt, app.id, blue.id)
    expect((await ofMessage({ channel: 'c', tag: 'blue' })).data).toHaveLength(1)
    expect((await ofMessage({ tag: 'red' })).data).toEqual([])
  }, 30_000)

  it('leave a page short, and the list goes on to its end, both ways', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'Pages' })
    const receiver = await makeReceiver({ status: 200 })
    const endpoint = await svix.endpoint.create(app.id, { url: receiver.url })
    const wanted: string[] = []
    for (let i = 0; i < 7; i++) {
      const tags = i % 3 === 0 ? { tags: ['third'] } : {}
      const { id } = await svix.message.create(app.id, { eventType: 'a.b', payload: { i }, ...tags })
      if (i % 3 === 0) wanted.unshift(id)
      await scheduler.wait(3)
    }
    await eventually(
      async () => (await svix.messageAttempt.listByEndpoint(app.id, endpoint.id)).data.length === 7,
    )
    const lists = [
      async (options: object) => {
        const page = await svix.messageAttempt.listByEndpoint(app.id, endpoint.id, options)
        return { ...page, ids: page.data.map(({ msgId }) => msgId) }
      },
      async (options: object) => {
        const page = await svix.messageAttempt.listAttemptedMessages(app.id, endpoint.id, options)
        return { ...page, ids: ids(page) }
      },
    ]
    for (const list of lists) {
      const found: string[] = []
      let page = await list({ tag: 'third', limit: 2 })
      let before: string | null = null
      for (;;) {
        found.push(...page.ids)
        if (page.done) break
        before = page.iterator as string
        page = await list({ tag: 'third', limit: 2, iterator: before })
      }
      expect(found).toEqual(wanted)
      // And back, from the oldest.
      const back: string[] = []
      let prev = page.prevIterator ?? null
      while (prev !== null) {
        const one = await list({ tag: 'third', limit: 2, iterator: prev })
        back.unshift(...one.ids)
        prev = one.done ? null : (one.prevIterator ?? null)
      }
      expect(back).toEqual(wanted.filter((id) => !page.ids.includes(id)))
    }
  }, 30_000)

  it('are words, and few', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'Words' })
    const send = (more: object) => svix.message.create(app.id, { eventType: 'a.b', payload: {}, ...more })
    expect(Object.keys(await wrongFields(send({ tags: [] })))).toEqual(['body.tags'])
    expect(Object.keys(await wrongFields(send({ tags: ['two words'] })))).toEqual(['body.tags.0'])
    const many = Array.from({ length: 9 }, (_, i) => `t${i}`)
    expect(Object.keys(await wrongFields(send({ tags: many })))).toEqual(['body.tags'])
    expect(Object.keys(await wrongFields(svix.message.list(app.id, { tag: '' })))).toEqual(['query.tag'])
  })
})

describe('how long a payload is kept', () => {
  it('may be said where it is no shorter than the tenant’s own time, as older clients always do', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'Kept' })
    const send = (more: object) => svix.message.create(app.id, { eventType: 'a.b', payload: {}, ...more })
    await send({ payloadRetentionPeriod: 90 })
    await send({ payloadRetentionPeriod: 30 })
    await send({ payloadRetentionHours: 720 })
    expect(await wrongFields(send({ payloadRetentionPeriod: 29 }))).toEqual({
      'body.payloadRetentionPeriod': expect.stringContaining('payload_retention_days, 30'),
    })
    expect(Object.keys(await wrongFields(send({ payloadRetentionHours: 719 })))).toEqual([
      'body.payloadRetentionHours',
    ])
    expect((await svix.message.list(app.id)).data).toHaveLength(3)
  })
})

describe('bulk replay', () => {
  it('sends once more what arrived, by type, channel, tag and status', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'Bulk' })
    const receiver = await makeReceiver({ status: 200 })
    const endpoint = await svix.endpoint.create(app.id, { url: receiver.url })
    const send = async (eventType: string, n: number, more = {}) =>
      svix.message.create(app.id, { eventType, payload: { n }, ...more })
    await send('a.b', 1)
    await send('a.b', 2, { tags: ['t'], channels: ['c'] })
    await send('a.c', 3)
    const bodies = async () =>
      (await receiver.seen()).map(({ body }) => (JSON.parse(body) as { n: number }).n)
    const standing = async () =>
      (await svix.messageAttempt.listAttemptedMessages(app.id, endpoint.id, { status: 0 })).data.length
    await eventually(async () => (await standing()) === 3)
    const replay = async (more: object) => {
      const from = (await bodies()).length
      const task = await svix.endpoint.bulkReplay(app.id, endpoint.id, { since: ago(60_000), ...more })
      expect(task.task).toBe('endpoint.bulk-replay')
      const { data } = await finished(svix, task.id)
      const { messagesSent } = data as { messagesSent: number }
      await eventually(
        async () => (await bodies()).length === from + messagesSent && (await standing()) === 3,
      )
      return (await bodies()).slice(from).sort()
    }
    expect(await replay({})).toEqual([1, 2, 3])
    expect(await replay({ eventTypes: ['a.b'] })).toEqual([1, 2])
    expect(await replay({ channel: 'c', status: 0 })).toEqual([2])
    expect(await replay({ tag: 't' })).toEqual([2])
    expect(await replay({ tag: 'none' })).toEqual([])
    expect(await replay({ status: 2 })).toEqual([])
    const wrong = (more: object) =>
      wrongFields(svix.endpoint.bulkReplay(app.id, endpoint.id, { since: ago(1), ...more } as never))
    expect(Object.keys(await wrong({ status: 1 }))).toEqual(['body.status'])
    expect(Object.keys(await wrong({ statusCodeClass: 500 }))).toEqual(['body.statusCodeClass'])
  }, 60_000)
})

describe('recovering an endpoint of an application', () => {
  it('looks at no other events than its application’s', async () => {
    const { svix, world } = await svixWorld()
    const app = await svix.application.create({ name: 'Few' })
    const message = await svix.message.create(app.id, { eventType: 'a.b', payload: {} })
    await eventually(async () =>
      env.DB.prepare('select id from events where id = ? and dispatched = 1').bind(message.id).first(),
    )
    const receiver = await makeReceiver({ status: 200 })
    const endpoint = await svix.endpoint.create(app.id, { url: receiver.url })
    const head = firstIdAt(Date.now() - 3_600_000).slice(0, 13)
    await env.DB.prepare(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < 2500)
       insert into events (tenant_id, id, type, channels, data, dispatched, timestamp)
       select ?1, 'msg_${head}-7000-8000-' || printf('%012x', i), 'a.b', '[]', '{}', 1, ?2 from n`,
    )
      .bind(world.tenant.id, ago(3_600_000).toISOString())
      .run()
    const job = await callJson<Job>('POST', `/api/v1/webhooks/${endpoint.id.slice(3)}/recover`, {
      token: world.developer.token,
      body: { since: ago(7_200_000).toISOString(), dry_run: true },
    })
    // It was counted by the time of the answer: 2,500 others would have taken more steps than that.
    expect(job.data).toMatchObject({ status: 'completed', result: { counted: { missing: 1 } } })
  }, 30_000)
})

describe('an example', () => {
  it('goes to one endpoint, whatever it takes, and is a message of the application', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'Example' })
    const [mine, other] = await Promise.all([1, 2].map(() => makeReceiver({ status: 200 })))
    if (!mine || !other) throw new Error('no receivers')
    await svix.eventType.create({ name: 'a.plain', description: '' })
    await svix.eventType.create({
      ...{ name: 'a.b', description: '' },
      schemas: { 1: { examples: [{ v: 1 }] }, 2: { examples: [{ v: 2 }, { v: 3 }, 'no object'] } },
    })
    const endpoint = await svix.endpoint.create(app.id, { url: mine.url, eventTypes: ['a.plain'] })
    await svix.endpoint.create(app.id, { url: other.url })
    const example = (eventType: string, more = {}) =>
      svix.endpoint.sendExample(app.id, endpoint.id, { eventType, ...more })
    const sent = await example('a.b')
    expect(sent).toMatchObject({ id: expect.stringMatching(/^msg_/), eventType: 'a.b', payload: { v: 2 } })
    await example('a.b', { exampleIndex: 1 })
    await example('a.plain')
    await eventually(async () => (await mine.seen()).length === 3)
    const bodies = (await mine.seen()).map(({ body }) => body).sort()
    expect(bodies).toEqual(['{"test":true}', '{"v":2}', '{"v":3}'])
    await eventually(async () => {
      const page = await svix.messageAttempt.listByMsg(app.id, sent.id)
      return page.data[0]?.status === 0
    })
    expect((await svix.message.list(app.id)).data).toHaveLength(3)
    await scheduler.wait(300)
    expect(await other.seen()).toEqual([])
    expect(Object.keys(await wrongFields(example('no.such')))).toEqual(['body.eventType'])
    expect(Object.keys(await wrongFields(example('a.b', { exampleIndex: 2 })))).toEqual(['body.exampleIndex'])
    expect(Object.keys(await wrongFields(example('a.b', { exampleIndex: 9 })))).toEqual(['body.exampleIndex'])
  }, 30_000)
})

describe('what is erased', () => {
  it('is a message’s payload with what its attempts sent and were answered; nothing of it goes out any more', async () => {
    const { svix, world } = await svixWorld()
    const app = await svix.application.create({ name: 'Gone' })
    const receiver = await makeReceiver({ status: 503, body: 'the secret that came back' })
    const endpoint = await svix.endpoint.create(app.id, { url: receiver.url })
    const payload = { card: 'x'.repeat(20_000) }
    const { id } = await svix.message.create(app.id, { eventType: 'a.b', eventId: 'e-1', payload })
    await svix.message.create(app.id, { eventType: 'a.b', payload: { other: 1 } })
    const attempted = await eventually(async () => {
      const page = await svix.messageAttempt.listByMsg(app.id, id, { withContent: true })
      return page.data.length === 1 && page.data[0]
    })
    expect(attempted.response).toBe('the secret that came back')
    expect((await env.FILES.list({ prefix: `${world.tenant.id}/events/` })).objects).toHaveLength(1)
    await svix.message.expungeContent(app.id, 'e-1')
    expect((await svix.message.get(app.id, id, { withContent: true })).payload).toEqual({ expired: true })
    const stands = await svix.messageAttempt.listAttemptedDestinations(app.id, id)
    expect(stands.data).toMatchObject([{ id: endpoint.id, status: 4 }])
    await eventually(async () => {
      const page = await svix.messageAttempt.listByMsg(app.id, id, { withContent: true })
      return page.data[0]?.response === ''
    }, 15_000)
    await eventually(
      async () => (await env.FILES.list({ prefix: `${world.tenant.id}/events/` })).objects.length === 0,
    )
    expect(await refusedWith(svix.messageAttempt.resend(app.id, id, endpoint.id))).toMatchObject({
      status: 409,
    })
    // The other one is as it was; to erase again is no mistake.
    const other = await svix.message.list(app.id, { withContent: true })
    expect(other.data.map((one) => one.payload)).toEqual([{ other: 1 }, { expired: true }])
    await svix.message.expungeContent(app.id, id)
    expect(await refusedWith(svix.message.expungeContent(app.id, 'none'))).toMatchObject({ status: 404 })
  }, 30_000)

  it('is what one attempt was answered', async () => {
    const { svix, world } = await svixWorld()
    const app = await svix.application.create({ name: 'Answer' })
    const receiver = await makeReceiver({ status: 200, body: 'secret' })
    const endpoint = await svix.endpoint.create(app.id, { url: receiver.url })
    const { id } = await svix.message.create(app.id, { eventType: 'a.b', payload: { n: 1 } })
    const list = async (count: number) =>
      eventually(async () => {
        const { data } = await svix.messageAttempt.listByMsg(app.id, id, { withContent: true })
        return data.length === count && data
      })
    const [first] = await list(1)
    if (!first) throw new Error('no attempt')
    expect(first.response).toBe('secret')
    await eventually(async () => {
      const page = await svix.messageAttempt.listAttemptedDestinations(app.id, id)
      return page.data[0]?.status === 0
    })
    await svix.messageAttempt.expungeContent(app.id, id, first.id)
    const after = await svix.messageAttempt.get(app.id, id, first.id)
    expect(after).toEqual({ ...first, response: '' })
    const delivery = await callJson<{ attempts: object[] }>(
      'GET',
      `/api/v1/deliveries/${first.id.slice('atmpt_'.length).replace(/_1$/, '')}`,
      { key: world.apiKey },
    )
    expect(delivery.data.attempts).toMatchObject([
      { response_status: 200, response_body: null, response_headers: null },
    ])
    // The message is still there, and so is what the next attempt is answered.
    await svix.messageAttempt.resend(app.id, id, endpoint.id)
    expect((await list(2)).map((one) => one.response)).toEqual(['secret', ''])
    const none = svix.messageAttempt.expungeContent(app.id, id, first.id.replace(/_1$/, '_9'))
    expect(await refusedWith(none)).toMatchObject({ status: 404 })
  }, 30_000)
})

describe('small questions', () => {
  it('whether it answers at all', async () => {
    const { svix } = await svixWorld()
    await expect(svix.health.get()).resolves.toBeUndefined()
  })

  it('whether anybody waits for a message', async () => {
    const { svix } = await svixWorld()
    const app = await svix.application.create({ name: 'Precheck' })
    const other = await svix.application.create({ name: 'Else' })
    await svix.eventType.create({ name: 'a.b', description: '' })
    const url = `${env.RECEIVER_URL}/hook/to?key=none`
    const asks = async (id: string, eventType: string, channels?: string[]) =>
      (await svix.message.precheck(id, { eventType, ...(channels && { channels }) })).active
    expect(await asks(app.id, 'a.b')).toBe(false)
    const one = await svix.endpoint.create(app.id, { url, eventTypes: ['a.b'], channels: ['c'] })
    expect([await asks(app.id, 'a.b'), await asks(app.id, 'a.b', ['c'])]).toEqual([false, true])
    expect([await asks(app.id, 'a.c', ['c']), await asks(other.id, 'a.b', ['c'])]).toEqual([false, false])
    await svix.endpoint.patch(app.id, one.id, { disabled: true })
    expect(await asks(app.id, 'a.b', ['c'])).toBe(false)
    await svix.endpoint.create(app.id, { url })
    expect(await asks(app.id, 'a.c')).toBe(true)
  })
})
