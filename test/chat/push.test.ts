import { runDurableObjectAlarm } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { encrypted, MOST_PLAIN } from '../../src/domains/chat/push/encrypt'
import { settingsOf } from '../../src/env'
import { randomBytes } from '../../src/lib/crypto'
import { base64url, fromBase64url, utf8 } from '../../src/lib/encoding'
import { newId } from '../../src/lib/ids'
import { callJson, makeWorld, type Person } from '../world'
import { chatWith, eventually, gatedChat } from './kit'

const echo = { name: 'Echo', kind: 'echo' }

type Message = { headers: Record<string, string>; text: string }

/** A browser at a push service that answers as its name says (test/receiver/push-services.ts). */
class Browser {
  private readonly auth = base64url(randomBytes(16))
  private keys: CryptoKeyPair | null = null
  readonly name: string

  constructor(kind = 'fine') {
    this.name = `${kind}-${newId(Date.now())}`
  }

  get endpoint(): string {
    return `${env.RECEIVER_URL}/push/send/${this.name}`
  }

  async subscription() {
    this.keys ??= (await crypto.subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, [
      'deriveBits',
    ])) as CryptoKeyPair
    const point = (await crypto.subtle.exportKey('raw', this.keys.publicKey)) as ArrayBuffer
    const p256dh = base64url(new Uint8Array(point))
    return { endpoint: this.endpoint, expirationTime: null, keys: { p256dh, auth: this.auth } }
  }

  async subscribe(person: Person) {
    const body = await this.subscription()
    return callJson<{ id: string; service: string }>('POST', '/api/v1/push/subscriptions', {
      token: person.token,
      body,
    })
  }

  /** What came, as the browser reads it. */
  async read(): Promise<Message[]> {
    if (!this.keys) throw new Error('not subscribed')
    const { d = '' } = (await crypto.subtle.exportKey('jwk', this.keys.privateKey)) as JsonWebKey
    const answer = await fetch(`${env.RECEIVER_URL}/push/read/${this.name}?key=${d}.${this.auth}`)
    return answer.json<Message[]>()
  }
}

const list = async (person: Person) =>
  (await callJson<{ id: string }[]>('GET', '/api/v1/push/subscriptions', { token: person.token })).data

describe('an answer', () => {
  it('that ends while nobody watches is told to the user’s browsers, readable by them alone', async () => {
    const world = await makeWorld()
    const [browser, other] = [new Browser(), new Browser()]
    await browser.subscribe(world.member)
    await other.subscribe(world.viewer)
    const chat = await chatWith(world, echo, { title: 'Plans' })
    await chat.post({ content: 'Ship it äöü 🚀' }, { Prefer: 'respond-async' })
    const [message] = await eventually(async () => {
      const read = await browser.read()
      return read.length > 0 ? read : null
    })
    const { messages } = (await chat.read()).data
    expect(JSON.parse(message?.text ?? '')).toEqual({
      ...{ type: 'chat.answer', chat_id: chat.id, message_id: messages[1]?.id, finish: 'stop' },
      ...{ title: 'Plans', tag: `chat:${chat.id}`, body: 'Ship it äöü 🚀' },
    })
    expect(message?.headers).toMatchObject({
      topic: chat.id.replaceAll('-', ''),
      ttl: '86400',
      urgency: 'high',
    })
    expect(await other.read()).toEqual([])
  })

  it('is told to nobody who follows the chat, waits for it, or has stopped it', async () => {
    const world = await makeWorld()
    const browser = new Browser()
    await browser.subscribe(world.member)
    const { chat, gate } = await gatedChat(world)
    const socket = await chat.socket()
    await chat.post({ content: 'watched' }, { Prefer: 'respond-async' })
    await gate.say('one')
    await gate.end()
    await socket.until('done')
    socket.ws.close()
    const waited = chat.post({ content: 'waited for' }, { Accept: 'application/json' })
    await gate.say('two')
    await gate.end()
    expect((await waited).status).toBe(200)
    await chat.post({ content: 'stopped' }, { Prefer: 'respond-async' })
    await gate.say('three')
    await chat.stop()
    await chat.post({ content: 'not watched' }, { Prefer: 'respond-async' })
    await gate.say('four')
    await gate.end()
    const read = await eventually(async () => {
      const messages = await browser.read()
      return messages.length > 0 ? messages : null
    })
    expect(read.map(({ text }) => JSON.parse(text).body)).toEqual(['four'])
  })

  it('is told again where the push service did not take it, and it forgets browsers that are gone', async () => {
    const world = await makeWorld()
    const [busy, gone] = [new Browser('busy'), new Browser('gone')]
    await busy.subscribe(world.member)
    await gone.subscribe(world.member)
    const chat = await chatWith(world, echo)
    await chat.post({ content: 'Hello' }, { Prefer: 'respond-async' })
    await eventually(async () => (await list(world.member)).length === 1)
    expect(await gone.read()).toHaveLength(1)
    expect(await busy.read()).toHaveLength(1)
    await eventually(() =>
      chat.inObject(
        (_, state) => state.storage.sql.exec('select 1 from alarms where name = ?', 'push').toArray().length,
      ),
    )
    await chat.inObject(
      (_, state) => void state.storage.sql.exec(`update alarms set due = 0 where name = 'push'`),
    )
    await runDurableObjectAlarm(chat.stub)
    const texts = (await busy.read()).map(({ text }) => text)
    expect(texts).toHaveLength(2)
    expect(texts[0]).toBe(texts[1])
    const left = await chat.inObject((_, state) => state.storage.sql.exec('select * from notices').toArray())
    expect(left).toEqual([])
  })

  it('is told no more to who may not read it, or has logged out', async () => {
    const world = await makeWorld()
    const browser = new Browser()
    await browser.subscribe(world.member)
    const { chat, gate } = await gatedChat(world)
    await chat.post({ content: 'Hello' }, { Prefer: 'respond-async' })
    await gate.say('one')
    await callJson('POST', '/api/v1/auth/logout', { token: world.member.token })
    await gate.end()
    await eventually(async () => {
      const query = 'select count(*) as n from push_subscriptions where tenant_id = ?'
      const row = await env.DB.prepare(query).bind(world.tenant.id).first<{ n: number }>()
      return row?.n === 0
    })
    expect(await browser.read()).toEqual([])
  })
})

describe('a subscription', () => {
  it('is the browser’s, once, and its owner’s alone', async () => {
    const world = await makeWorld()
    const { member, viewer } = world
    const browser = new Browser()
    const made = await browser.subscribe(member)
    expect(made).toMatchObject({ status: 201, data: { service: env.RECEIVER_URL } })
    expect((await browser.subscribe(member)).data.id).toBe(made.data.id)
    expect((await list(member)).map(({ id }) => id)).toEqual([made.data.id])
    expect(await list(viewer)).toEqual([])
    const path = `/api/v1/push/subscriptions/${made.data.id}`
    expect((await callJson('DELETE', path, { token: viewer.token })).status).toBe(404)
    expect((await callJson('DELETE', path, { token: member.token })).status).toBe(204)
    expect((await callJson('DELETE', path, { token: member.token })).status).toBe(404)
  })

  it('is at rest under the master key: nobody who reads the database can push', async () => {
    const world = await makeWorld()
    const browser = new Browser()
    await browser.subscribe(world.member)
    const query = 'select * from push_subscriptions where tenant_id = ?'
    const row = await env.DB.prepare(query).bind(world.tenant.id).first()
    expect(JSON.stringify(row)).not.toContain(browser.name)
    expect(String(row?.target)).toMatch(/^v2\./)
  })

  it.each([
    ['a key that is no point', { keys: { p256dh: 'AAAA', auth: 'BTBZMqHH6r4Tts7J_aSIgg' } }, 'keys.p256dh'],
    ['65 bytes that are no point', { keys: { p256dh: `${'B'.repeat(86)}A` } }, 'keys.p256dh'],
    ['a secret that is too short', { keys: { auth: 'AAAA' } }, 'keys.auth'],
    ['an address that is none', { endpoint: 'nowhere' }, 'endpoint'],
    ['the address of a machine’s credentials', { endpoint: 'http://169.254.169.254/latest' }, 'endpoint'],
    ['a field that is not known', { device: 'phone' }, 'device'],
  ])('is refused with %s', async (_, wrong: Record<string, unknown>, field) => {
    const { member } = await makeWorld()
    const right = await new Browser().subscription()
    const keys = { ...right.keys, ...(wrong.keys as object) }
    const body = { ...right, ...wrong, keys }
    const { status, error } = await callJson('POST', '/api/v1/push/subscriptions', {
      token: member.token,
      body,
    })
    expect(status).toBe(422)
    expect(Object.keys((error.details as { fields: object }).fields)).toEqual([field])
  })

  it('is for the service’s own key', async () => {
    const { member } = await makeWorld()
    const { data } = await callJson('GET', '/api/v1/push/key', { token: member.token })
    // RFC 8291, appendix A: the public half of the key of the tests.
    expect(data).toEqual({
      public_key: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
    })
  })

  it('says so where the service has none', async () => {
    const { pushKey } = await import('../../src/domains/chat/push/service')
    const settings = { ...settingsOf(env), VAPID_PRIVATE_KEY: '' }
    await expect(pushKey({ settings } as never)).rejects.toMatchObject({ code: 'push_not_configured' })
  })
})

describe('a message', () => {
  it('of every length is one that a push service takes', async () => {
    const { keys } = await new Browser().subscription()
    const [p256dh, auth] = [fromBase64url(keys.p256dh), fromBase64url(keys.auth)]
    if (!p256dh || !auth) throw new Error('no keys')
    const body = await encrypted(utf8('x'.repeat(MOST_PLAIN)), { p256dh, auth })
    expect(body.byteLength).toBe(4096)
    expect((await encrypted(utf8('x'), { p256dh, auth })).slice(0, 16)).not.toEqual(body.slice(0, 16))
  })
})
