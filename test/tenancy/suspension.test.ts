import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { backlog } from '../../src/domains/webhooks/deliveries/backlog'
import { sweep } from '../../src/domains/webhooks/deliveries/sweep'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { chatWith } from '../chat/kit'
import { expectError } from '../http/expect-error'
import { Isolate } from '../identity/isolates'
import { PASSWORD, someone, tenantOf } from '../identity/kit'
import { connect, deliveriesOf, send, settled, wake } from '../webhooks/deliver'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makePlatformAdmin, makeWorld, type Person, type World } from '../world'

// What a tenant's status means, wherever something is done for it.

const bindings = env as unknown as Bindings
const waits = { waitUntil: () => {} }
/** Within this a change of status holds everywhere. */
const PROMISED_MS = 10_000

let platform: Person
beforeAll(async () => {
  platform = await makePlatformAdmin()
})

async function setStatus({ tenant }: World, status: string): Promise<void> {
  const { token } = platform
  const path = `/api/platform/tenants/${tenant.id}`
  const { status: answered } = await callJson('PATCH', path, { token, body: { status } })
  expect(answered).toBe(200)
}

const cancel = ({ tenant }: World) =>
  call('DELETE', `/api/platform/tenants/${tenant.id}`, { token: platform.token })

describe('a suspended tenant', { timeout: 60_000 }, () => {
  it('is refused by every credential and in every isolate, until it goes on', async () => {
    const world = await makeWorld()
    const credentials = [{ token: world.admin.token }, { key: world.apiKey }]
    const there = new Isolate()
    for (const credential of credentials) expect((await there.knock(credential)).status).toBe(200)
    await setStatus(world, 'suspended')
    const at = Date.now()
    for (const credential of credentials)
      await expectError(call('GET', '/api/v1/interactions', credential), 'tenant_suspended')
    // Who was told nothing learns it with the next lease.
    await eventually(async () => (await there.knock(credentials[0] ?? {})).status === 403, PROMISED_MS)
    expect(Date.now() - at).toBeLessThan(PROMISED_MS)
    for (const credential of credentials) await expectError(there.knock(credential), 'tenant_suspended')
    const cookie = { Cookie: `access_token=${world.admin.token}` }
    await expectError(call('GET', '/api/v1/auth/me', { headers: cookie }), 'tenant_suspended')
    await setStatus(world, 'active')
    for (const credential of credentials)
      expect((await call('GET', '/api/v1/interactions', credential)).status).toBe(200)
    await eventually(async () => (await there.knock(credentials[0] ?? {})).status === 200, PROMISED_MS)
  })

  it('lets nobody in: by password, refresh, registration, or the link of a mail', async () => {
    const email = someone()
    const world = await tenantOf(email, { settings: { open_registration: true }, verified: false })
    const login = () =>
      callJson<{ refresh_token: string }>('POST', '/api/v1/auth/login', {
        body: { email, password: PASSWORD },
      })
    const { data } = await login()
    const tokenOf = async (purpose: string) => {
      const found = await env.DB.prepare(
        'select text from mails where "to" = ? and text like ? order by id desc',
      )
        .bind(email, `%/${purpose}#token=%`)
        .first<string>('text')
      return /#token=([\w-]+)/.exec(found ?? '')?.[1]
    }
    await call('POST', '/api/v1/auth/verify-email/resend', { body: { email } })
    await call('POST', '/api/v1/auth/password/forgot', { body: { email } })
    const verify = await eventually(() => tokenOf('verify-email'))
    const reset = await eventually(() => tokenOf('reset-password'))
    await setStatus(world, 'suspended')
    const refused = (path: string, body: object) =>
      expectError(call('POST', `/api/v1/auth/${path}`, { body }), 'tenant_suspended')
    await refused('login', { email, password: PASSWORD })
    await refused('refresh', { refresh_token: data.refresh_token })
    await refused('register', { email: someone(), password: PASSWORD, team_id: world.tenant.id })
    await refused('verify-email/confirm', { token: verify })
    await refused('password/reset', { token: reset, password: 'quite another long phrase' })
    await setStatus(world, 'active')
    // Nothing was used up by having been refused.
    expect((await login()).status).toBe(200)
    expect(
      (await call('POST', '/api/v1/auth/verify-email/confirm', { body: { token: verify } })).status,
    ).toBe(200)
    const { status } = await callJson('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: data.refresh_token },
    })
    expect(status).toBe(200)
  })

  it('loses its open streams and sockets, although nothing is said in them', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const stream = await chat.follow()
    await stream.next()
    const socket = await chat.socket()
    await socket.until('snapshot')
    const quiet = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const untouched = await quiet.socket()
    await untouched.until('snapshot')
    const at = Date.now()
    await setStatus(world, 'suspended')
    expect((await socket.closed).code).toBe(4401)
    expect((await stream.rest()).map(({ type }) => type)).not.toContain('message')
    expect(Date.now() - at).toBeLessThan(PROMISED_MS)
    untouched.ws.send('ping')
    await untouched.until('pong')
    await expectError(chat.stream(), 'tenant_suspended')
  })
})

describe.each(['suspended', 'cancelled'])('deliveries of a %s tenant', { timeout: 60_000 }, (status) => {
  const stop = (world: World) => (status === 'suspended' ? setStatus(world, status) : cancel(world))

  /** An event that the service itself makes, for the tenant can't send any. */
  async function happens(world: World): Promise<string> {
    const id = `msg_${newId(Date.now() - 5_000)}`
    await env.DB.prepare(
      `insert into events (tenant_id, id, type, channels, data, timestamp) values (?, ?, 'order.shipped', '[]', '{}', ?)`,
    )
      .bind(world.tenant.id, id, new Date().toISOString())
      .run()
    return id
  }

  it('wait, are no backlog and keep nobody awake, and are taken up when it goes on', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    await send(world)
    await settled(world, endpoint.id)
    await stop(world)
    const late = await happens(world)
    await env.DB.prepare('update events set dispatched = 1 where dispatched = 0 and id <> ?').bind(late).run()
    const pending = () =>
      env.DB.prepare(
        `select event_id, status, attempt_count from deliveries where tenant_id = ? and status = 'pending'`,
      )
        .bind(world.tenant.id)
        .all()
        .then(({ results }) => results)
    await eventually(async () => {
      await sweep(bindings, waits)
      return (await pending()).length > 0
    })
    await wake(world, endpoint.id)
    await scheduler.wait(1_500)
    expect(await pending()).toEqual([{ event_id: late, status: 'pending', attempt_count: 0 }])
    expect(await receiver.seen()).toHaveLength(1)
    const woken: string[] = []
    const ENDPOINTS = {
      getByName: (name: string) => {
        woken.push(name)
        return env.ENDPOINTS.getByName(name)
      },
    } as unknown as Bindings['ENDPOINTS']
    const soon = Date.now() + 5_000
    await sweep({ ...bindings, ENDPOINTS }, waits, soon)
    const name = `${world.tenant.id}/${endpoint.id}`
    expect(woken).not.toContain(name)
    // The number is of all tenants, whose deliveries come and go meanwhile.
    const stored = (now: string) =>
      env.DB.prepare('update tenants set status = ? where id = ?').bind(now, world.tenant.id).run()
    await eventually(async () => {
      const held = await backlog(bindings, soon)
      await stored('active')
      const counted = await backlog(bindings, soon)
      await stored(status)
      return counted.deliveries_due === held.deliveries_due + 1
    })
    await setStatus(world, 'active')
    await sweep({ ...bindings, ENDPOINTS }, waits, soon)
    expect(woken).toContain(name)
    await eventually(async () => (await receiver.seen()).length === 2, 20_000)
    expect((await receiver.seen())[1]?.headers['webhook-id']).toBe(late)
    await eventually(async () => (await deliveriesOf(world)).every((one) => one.status === 'delivered'))
  })

  it('that are being tried again are not, until it goes on', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }, {}])
    await send(world)
    await settled(world, endpoint.id)
    await stop(world)
    const due = () =>
      env.DB.prepare(`update deliveries set next_attempt_at = ? where tenant_id = ? and status = 'pending'`)
        .bind(new Date(Date.now() - 10_000).toISOString(), world.tenant.id)
        .run()
    await due()
    await wake(world, endpoint.id)
    await scheduler.wait(1_500)
    expect(await receiver.seen()).toHaveLength(1)
    await setStatus(world, 'active')
    await sweep(bindings, waits)
    const row = await settled(world, endpoint.id, ({ status: now }) => now === 'delivered', 20_000)
    expect(row.attempt_count).toBe(2)
  })
})
