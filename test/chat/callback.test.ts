import { abortAllDurableObjects, evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { Room } from '../../src/domains/chat/room/room'
import { makeRunToken, openRunToken } from '../../src/domains/chat/runs/token'
import { type Bindings, settingsOf } from '../../src/env'
import type { Seen } from '../receiver/upstreams'
import { call, callJson, makeWorld, type World } from '../world'
import { Agent, asked, firstRequest } from './callbacks'
import { chatAt, type Event, EventReader, gatedChat, type TestChat, textOf } from './kit'

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const settings = settingsOf(env as unknown as Bindings)
const said = (content: string) => ({ type: 'message', data: { content } })
const DONE = { type: 'done', data: {} }

const answerOf = async (chat: TestChat) => (await chat.read()).data.messages.at(-1)
const types = (events: Event[]) => events.map(({ type }) => type)
const state = (chat: TestChat) =>
  chat.inObject((object) => {
    const { room } = object as unknown as { room: { runs: { going: unknown } } }
    return { going: room.runs.going !== null }
  })

describe('an agent that answers 202', () => {
  it('is told where to post and by what right, and what it posts is the answer', async () => {
    const { chat, agent } = await asked(world)
    expect(agent.url).toBe(`http://localhost:8787/api/v1/runs/${agent.runId}/events`)
    expect(agent.token).toMatch(/^crt_v2\./)
    const reader = await chat.follow()
    await reader.next()
    const status = { type: 'status', data: { description: 'Looking it up…' } }
    const tool = { id: 'c1', name: 'search', status: 'call', arguments: { q: 'x' } }
    expect(
      await agent.post(1, [status, said('One '), said('two '), { type: 'tool', data: tool }]),
    ).toMatchObject({
      status: 200,
      data: { run_id: agent.runId, status: 'running', next_sequence: 5 },
    })
    expect(await answerOf(chat)).toMatchObject({ content: 'One two ', status: 'streaming' })
    const usage = { prompt_tokens: 7, completion_tokens: 3 }
    const last = await agent.post(5, [said('three 👋'), { type: 'done', data: { finish: 'length', usage } }])
    expect(last).toMatchObject({ status: 200, data: { status: 'done', next_sequence: 7 } })
    const done = await reader.until('done')
    expect(done.data).toMatchObject({
      run_id: agent.runId,
      finish: 'length',
      usage: { ...usage, time_to_first_token_ms: expect.any(Number), duration_ms: expect.any(Number) },
    })
    expect(types(reader.seen).filter((type) => type !== 'presence')).toEqual([
      ...['snapshot', 'status', 'message', 'tool', 'message', 'title', 'done'],
    ])
    expect(reader.seen.find(({ type }) => type === 'tool')?.data).toEqual(tool)
    expect(textOf(reader.seen)).toBe('One two three 👋')
    expect(await answerOf(chat)).toMatchObject({ content: 'One two three 👋', status: 'complete' })
    await reader.leave()
  })

  it('takes the token as a bearer too, and answers who waits for the whole', async () => {
    const key = crypto.randomUUID()
    const chat = await chatAt(`${env.RECEIVER_URL}/upstream/status?code=202&key=${key}`, world)
    const waiting = chat.post({ content: 'Work' }, { Accept: 'application/json' })
    const seen = await firstRequest(key)
    const run = String(seen?.headers['x-causeway-run-id'])
    const posted = await callJson('POST', `/api/v1/runs/${run}/events`, {
      body: { sequence: 1, events: [said('All of it'), DONE] },
      headers: { Authorization: `Bearer ${seen?.headers['x-causeway-run-token']}` },
    })
    expect(posted.status).toBe(200)
    const answer = await (await waiting).json<{ data: { messages: { content: string }[] } }>()
    expect(answer.data.messages[1]?.content).toBe('All of it')
  })

  it('fails the run with its own words', async () => {
    const { chat, agent } = await asked(world)
    const answer = await agent.post(1, [said('Some'), { type: 'error', data: { message: 'no credit' } }])
    expect(answer.data.status).toBe('failed')
    expect(await answerOf(chat)).toMatchObject({
      content: 'Some',
      status: 'failed',
      metadata: { error: { code: 'upstream_error', message: 'The agent reported an error: no credit' } },
    })
  })

  it('may post before its 202 has arrived; what its call says after that does not count', async () => {
    const { chat, gate } = await gatedChat(world)
    const sent = await chat.post({ content: 'Work' }, { Prefer: 'respond-async' })
    const { run_id } = (await sent.json<{ data: { run_id: string } }>()).data
    const token = await makeRunToken(settings, { ...chat.ids, run_id })
    const agent = new Agent(chat, run_id, token, '')
    expect((await agent.post(1, [said('posted')])).status).toBe(200)
    await gate.say('said')
    await gate.reset()
    expect((await agent.post(2, [said(' and'), said(' done'), DONE])).data.status).toBe('done')
    expect(await answerOf(chat)).toMatchObject({ content: 'posted and done', status: 'complete' })
  })

  it('can’t post to a run that it answers over its connection', async () => {
    const { chat, gate } = await gatedChat(world)
    const reader = await chat.send('Work')
    await gate.say('over the wire')
    await reader.until('message')
    const run_id = (await chat.read()).data.messages[1]?.run_id ?? ''
    const agent = new Agent(chat, run_id, await makeRunToken(settings, { ...chat.ids, run_id }), '')
    const answer = await agent.post(1, [said('posted')])
    expect(answer).toMatchObject({ status: 409, error: { code: 'run_not_by_callback' } })
    await gate.end()
    expect(textOf(await reader.rest())).toBe('')
    expect(await answerOf(chat)).toMatchObject({ content: 'over the wire', status: 'complete' })
  })

  it('is not asked again, though it is idempotent and its connection broke', async () => {
    const { chat, gate } = await gatedChat(world)
    await callJson('PATCH', `/api/v1/agents/${chat.agentId}`, {
      token: world.admin.token,
      body: { idempotent: true },
    })
    const sent = await chat.post({ content: 'Work' }, { Prefer: 'respond-async' })
    const { run_id } = (await sent.json<{ data: { run_id: string } }>()).data
    const agent = new Agent(chat, run_id, await makeRunToken(settings, { ...chat.ids, run_id }), '')
    expect((await agent.post(1, [said('x')])).status).toBe(200)
    await gate.reset()
    await new Promise((resolve) => setTimeout(resolve, 700))
    const requests = `${env.RECEIVER_URL}/upstream/requests/${gate.key}`
    expect(await (await fetch(requests)).json<Seen[]>()).toHaveLength(1)
    expect((await agent.post(2, [DONE])).data.status).toBe('done')
  })
})

describe('numbers', () => {
  it('make repeats harmless, whole, in part and after the end', async () => {
    const { chat, agent } = await asked(world)
    await agent.post(1, [said('a'), said('b')])
    expect((await agent.post(1, [said('a'), said('b')])).data.next_sequence).toBe(3)
    expect((await agent.post(2, [said('b'), said('c')])).data.next_sequence).toBe(4)
    await agent.post(4, [said('d'), DONE])
    const again = await agent.post(3, [said('c'), said('d'), DONE])
    expect(again).toMatchObject({ status: 200, data: { status: 'done', next_sequence: 6 } })
    expect(await agent.post(6, [said('e')])).toMatchObject({ status: 409, error: { code: 'run_ended' } })
    expect((await answerOf(chat))?.content).toBe('abcd')
    expect((await chat.log()).filter(({ type }) => type === 'done')).toHaveLength(1)
  })

  it('that are missing are refused, naming the one that is to come', async () => {
    const { chat, agent } = await asked(world)
    expect(await agent.post(2, [said('b')])).toMatchObject({
      status: 409,
      error: { code: 'sequence_gap', details: { expected_sequence: 1, sequence: 2 } },
    })
    await agent.post(1, [said('a')])
    expect(await agent.post(5, [DONE])).toMatchObject({
      status: 409,
      error: { details: { expected_sequence: 2 } },
    })
    expect(await answerOf(chat)).toMatchObject({ content: 'a', status: 'streaming' })
  })

  it('hold for many posts at once: each event is taken once', async () => {
    const { chat, agent } = await asked(world)
    await agent.post(1, [said('0 ')])
    const posts = Array.from({ length: 20 }, (_, i) => agent.post(2, [said(`${i} `), said('! ')]))
    const answers = await Promise.all(posts)
    expect(answers.every(({ status, data }) => status === 200 && data.next_sequence === 4)).toBe(true)
    expect((await answerOf(chat))?.content).toMatch(/^0 \d+ ! $/)
  })
})

describe('a restart', () => {
  it('does not end the run: what was taken is there, and the agent goes on', async () => {
    const { chat, agent } = await asked(world)
    await agent.post(1, [said('before '), said('that ')])
    const cursor = (await chat.log()).at(-1)?.id ?? ''
    for (let times = 0; times < 3; times += 1) {
      await abortAllDurableObjects()
      expect(await answerOf(chat)).toMatchObject({ status: 'streaming' })
      const next = 3 + times
      expect((await agent.post(next - 1, [said('not again'), said(`${times} `)])).data.next_sequence).toBe(
        next + 1,
      )
    }
    await abortAllDurableObjects()
    const end = await agent.post(6, [{ type: 'done', data: { usage: { completion_tokens: 4 } } }])
    expect(end.data.status).toBe('done')
    expect(await answerOf(chat)).toMatchObject({ content: 'before that 0 1 2 ', status: 'complete' })
    const log = await chat.log()
    expect(log.every(({ id }) => id?.startsWith('e1-'))).toBe(true)
    const done = log.at(-1)?.data as { usage: Record<string, number> }
    expect(done.usage.completion_tokens).toBe(4)
    expect(done.usage.time_to_first_token_ms).toBeLessThanOrEqual(done.usage.duration_ms ?? 0)
    // Who left before all that finds the rest, without a reset.
    const reader = await chat.follow(cursor)
    while (types(reader.seen).at(-1) !== 'done') await reader.next()
    expect(types(reader.seen)).not.toContain('reset')
    expect(textOf(reader.seen)).toBe('0 1 2 ')
    await reader.leave()
  })

  it('is nothing that who follows over a socket would notice, nor is sleep', async () => {
    const { chat, agent } = await asked(world)
    const socket = await chat.socket()
    await socket.until('snapshot')
    await agent.post(1, [said('awake ')])
    await socket.until('message')
    for (const n of [2, 3]) {
      await evictDurableObject(chat.stub)
      await agent.post(n, [said(`slept ${n} `)])
      await socket.until('message')
    }
    await evictDurableObject(chat.stub)
    await agent.post(4, [DONE])
    await socket.until('done')
    expect(socket.seen.map(({ type }) => type)).not.toContain('reset')
    expect(textOf(socket.seen)).toBe('awake slept 2 slept 3 ')
    socket.ws.close()
  })

  it('leaves the run to be stopped, and to the end of its agent’s time', async () => {
    const first = await asked(world)
    await first.agent.post(1, [said('a')])
    await abortAllDurableObjects()
    expect((await first.chat.stop()).data).toMatchObject({ stopped: true, run_id: first.agent.runId })
    const second = await asked(world)
    await second.agent.post(1, [said('a')])
    await abortAllDurableObjects()
    await second.chat.inObject(
      (_, ctx) => void ctx.storage.sql.exec('update callbacks set heard_at = heard_at - 16 * 60000'),
    )
    await second.chat.inObject(
      (_, ctx) => void ctx.storage.sql.exec(`update alarms set due = 1 where name = 'run'`),
    )
    await second.chat.inObject((object) => object.alarm())
    expect(await answerOf(second.chat)).toMatchObject({ status: 'failed', content: 'a' })
  })
})

describe('whatever happens', () => {
  /** A small generator of numbers that a seed repeats (mulberry32). */
  function random(seed: number): () => number {
    let at = seed
    return () => {
      at = (at + 0x6d2b79f5) | 0
      let t = Math.imul(at ^ (at >>> 15), 1 | at)
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
    }
  }

  it.each([1, 2, 3, 4, 5, 6])(
    'an agent that sends what was not taken again is heard once (seed %i)',
    async (seed) => {
      const next = random(seed * 7919)
      const { chat, agent } = await asked(world)
      const words = Array.from({ length: 40 }, (_, n) => `w${n} `)
      const events = [...words.map(said), DONE]
      for (let taken = 0; taken < events.length; ) {
        const roll = next()
        if (roll < 0.1) await abortAllDurableObjects()
        else if (roll < 0.2) await evictDurableObject(chat.stub).catch(() => {})
        // From somewhere before what was taken, or after it, where it is refused.
        const from = Math.max(0, taken + Math.floor(next() * 8) - 5)
        const batch = events.slice(from, from + 1 + Math.floor(next() * 6))
        if (batch.length === 0) continue
        const sent = agent.post(from + 1, batch)
        // The answer may be lost with the object.
        if (next() < 0.1) await abortAllDurableObjects()
        const answer = await sent
        if (answer.status === 409) {
          expect(answer.error.code).toBe('sequence_gap')
          // What was taken may be more than was answered.
          const { expected_sequence } = answer.error.details as { expected_sequence: number }
          expect(expected_sequence).toBeGreaterThan(taken)
          expect(expected_sequence).toBeLessThan(from + 1)
        } else if (answer.status === 200) {
          expect(answer.data.next_sequence).toBeGreaterThanOrEqual(from + batch.length + 1)
          taken = answer.data.next_sequence - 1
        } else expect(answer.status).toBeGreaterThanOrEqual(500)
      }
      expect(await answerOf(chat)).toMatchObject({ content: words.join(''), status: 'complete' })
      const log = await chat.log()
      const logged = log.filter(({ type }) => type === 'message').map(({ data }) => data.content)
      expect(logged.join('')).toBe(words.join(''))
      expect(log.filter(({ type }) => type === 'done')).toHaveLength(1)
      expect(log.map(({ id }) => id)).toEqual(log.map((_, i) => `e1-${i + 1}`))
    },
  )
})

describe('an agent’s silence', () => {
  it('ends the run after fifteen minutes, and not before', async () => {
    const { chat, agent } = await asked(world)
    await agent.post(1, [said('a')])
    // Nothing wakes the object before.
    const due = await chat.inObject((_, ctx) =>
      ctx.storage.sql.exec<{ due: number }>(`select due from alarms where name = 'run'`).one(),
    )
    expect(due.due - Date.now()).toBeGreaterThan(14 * 60_000)
    const back = (minutes: number) =>
      chat.inObject((_, ctx) => {
        ctx.storage.sql.exec('update callbacks set heard_at = heard_at - ?', minutes * 60_000)
        ctx.storage.sql.exec(`update alarms set due = 1 where name = 'run'`)
      })
    await back(14)
    await chat.inObject((object) => object.alarm())
    expect((await state(chat)).going).toBe(true)
    await back(1)
    await chat.inObject((object) => object.alarm())
    expect((await state(chat)).going).toBe(false)
    expect(await answerOf(chat)).toMatchObject({
      content: 'a',
      status: 'failed',
      metadata: { error: { code: 'upstream_stalled', message: 'The agent posted nothing for 15 minutes' } },
    })
    expect(await agent.post(2, [said('late')])).toMatchObject({
      status: 409,
      error: { code: 'run_ended', details: { status: 'failed', reason: 'upstream_stalled' } },
    })
  })
})

describe('the setting of how long an agent may be silent', () => {
  it('is kept to', async () => {
    const { chat, agent } = await asked(world)
    await agent.post(1, [said('a')])
    const silentFor = (minutes: number) =>
      chat.inObject(async (_, { storage }) => {
        storage.sql.exec('update callbacks set heard_at = ?', Date.now() - minutes * 60_000)
        storage.sql.exec(`update alarms set due = 1 where name = 'run'`)
        const bindings = { ...env, CALLBACK_SILENCE_MINUTES: '60' } as unknown as Bindings
        const room = new Room(storage, bindings, chat.ids)
        room.wake()
        await room.alarm()
        return room.runs.going !== null
      })
    expect(await silentFor(59)).toBe(true)
    expect(await silentFor(60)).toBe(false)
    await chat.forget()
    expect(await answerOf(chat)).toMatchObject({
      metadata: { error: { message: 'The agent posted nothing for 60 minutes' } },
    })
  })

  it('is fifteen minutes where there is none, and a whole number', () => {
    const minutes = (value: string) =>
      settingsOf({ ...env, CALLBACK_SILENCE_MINUTES: value } as unknown as Bindings).CALLBACK_SILENCE_MINUTES
    expect([minutes(''), minutes('1'), minutes('9999')]).toEqual([15, 1, 9999])
    for (const wrong of ['0', '-1', '1.5', 'soon', '10000'])
      expect(() => minutes(wrong), wrong).toThrow('misconfigured')
  })
})

describe('an idempotency key', () => {
  it('is one of the run: a repeat is answered as the first was, and a run of its own has its own', async () => {
    const [one, two] = [await asked(world), await asked(world)]
    const key = { 'Idempotency-Key': crypto.randomUUID() }
    const first = await one.agent.post(1, [said('once')], key)
    expect([first.status, first.headers.get('Idempotency-Replayed')]).toEqual([200, null])
    await one.agent.post(2, [said(' more')])
    const again = await one.agent.post(1, [said('once')], key)
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([200, 'true'])
    expect(again.data).toEqual(first.data)
    const reused = await one.agent.post(3, [said('other')], key)
    expect([reused.status, reused.error.code]).toEqual([422, 'idempotency_key_reused'])
    expect((await two.agent.post(1, [said('mine')], key)).headers.get('Idempotency-Replayed')).toBeNull()
    expect(await answerOf(one.chat)).toMatchObject({ content: 'once more' })
  })
})

describe('stopping', () => {
  it('is told to the agent with its next post, also with a repeat', async () => {
    const { chat, agent } = await asked(world)
    await agent.post(1, [said('kept')])
    await chat.stop()
    for (const post of [agent.post(2, [said('late')]), agent.post(1, [said('kept')])])
      expect(await post).toMatchObject({
        status: 409,
        error: { code: 'run_ended', details: { status: 'stopped', finish: 'stopped' } },
      })
    expect(await answerOf(chat)).toMatchObject({ content: 'kept', status: 'stopped' })
  })
})

describe('what is refused', () => {
  const post = (run: string, body: unknown, headers: Record<string, string> = {}) =>
    callJson('POST', `/api/v1/runs/${run}/events`, { body, headers })

  it('is a token of another run, of nobody, and none', async () => {
    const [one, two] = [await asked(world), await asked(world)]
    const body = { sequence: 1, events: [said('x')] }
    for (const token of ['', 'crt_', 'crt_v2.abc', two.agent.token, one.agent.token.slice(0, -3)]) {
      const answer = await post(one.agent.runId, body, token ? { 'X-Causeway-Run-Token': token } : {})
      expect(answer, token).toMatchObject({ status: 401, error: { code: 'invalid_run_token' } })
      expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer error=/)
    }
    // Somebody's own credential is none of the run's.
    const mine = await post(one.agent.runId, body, { Authorization: `Bearer ${world.admin.token}` })
    expect(mine.status).toBe(401)
    expect((await answerOf(one.chat))?.content).toBe('')
  })

  it('is not a token from before the master key was another, as long as that is known', async () => {
    const { agent, chat } = await asked(world)
    const next = { MASTER_KEY: 'x'.repeat(40), MASTER_KEY_PREVIOUS: [settings.MASTER_KEY] }
    expect(await openRunToken(next, agent.token, agent.runId)).toEqual(chat.ids)
    expect(await openRunToken({ ...next, MASTER_KEY_PREVIOUS: [] }, agent.token, agent.runId)).toBeNull()
  })

  it('is what is no event, by its place', async () => {
    const { chat, agent } = await asked(world)
    const fields = async (sequence: unknown, events: unknown) => {
      const { status, error } = await agent.post(sequence as number, events as unknown[])
      expect(status).toBe(422)
      return Object.keys(error.details.fields ?? {})
    }
    expect(await fields(0, [said('x')])).toEqual(['sequence'])
    expect(await fields(1, [])).toEqual(['events'])
    expect(await fields(1, [DONE, said('x')])).toEqual(['events'])
    expect(await fields(1, [said('x'), { type: 'snapshot', data: {} }])).toEqual(['events.1.type'])
    expect(await fields(1, [said('\ud83d')])).toEqual(['events.0.data.content'])
    expect(await fields(1, [{ type: 'tool', data: { id: '1', name: '', status: 'went' } }])).toEqual([
      'events.0.data.name',
      'events.0.data.status',
    ])
    expect(
      await fields(
        1,
        Array.from({ length: 257 }, () => said('x')),
      ),
    ).toEqual(['events'])
    expect(await answerOf(chat)).toMatchObject({ content: '', status: 'streaming' })
  })

  it('is the rest of an answer over 4 MiB, whose beginning is kept', async () => {
    const { chat, agent } = await asked(world)
    const big = 'x'.repeat(900_000)
    for (let i = 1; i <= 4; i += 1) expect((await agent.post(i, [said(big)])).data.status).toBe('running')
    expect((await agent.post(5, [said(big)])).data.status).toBe('failed')
    const { status, metadata, content } = (await answerOf(chat)) ?? {}
    expect(status).toBe('failed')
    expect(metadata).toMatchObject({ error: { code: 'upstream_too_large' } })
    expect(content?.length).toBe(5 * big.length)
    expect((await agent.post(6, [said('more')])).error.code).toBe('run_ended')
  })

  it('is a run of a chat that was deleted, and of a tenant that was suspended', async () => {
    const gone = await asked(world)
    await callJson('DELETE', gone.chat.path, { token: world.member.token })
    expect((await gone.agent.post(1, [said('x')])).status).toBe(404)
    const elsewhere = await asked(await makeWorld())
    const { tenant } = elsewhere.chat.world
    await env.DB.prepare(`update tenants set status = 'suspended' where id = ?`).bind(tenant.id).run()
    expect(await elsewhere.agent.post(1, [said('x')])).toMatchObject({
      status: 403,
      error: { code: 'tenant_suspended' },
    })
  })

  it('is what comes too often: a hundred requests a minute for each run, whoever else posts', async () => {
    const [one, two] = [await asked(world), await asked(world)]
    const answers = await Promise.all(Array.from({ length: 120 }, () => one.agent.post(1, [said('x')])))
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused.length).toBeGreaterThanOrEqual(20)
    expect(refused.length).toBeLessThanOrEqual(22)
    expect(refused[0]?.error.details).toMatchObject({ window: 'run', limit: 100 })
    expect(Number(refused[0]?.headers.get('Retry-After'))).toBeGreaterThan(0)
    expect((await two.agent.post(1, [said('x')])).status).toBe(200)
  })

  it('counts nothing for who only knows the run’s id', async () => {
    const { agent } = await asked(world)
    const headers = { 'X-Causeway-Run-Token': 'crt_guess', 'CF-Connecting-IP': '192.0.2.77' }
    const body = { sequence: 1, events: [said('x')] }
    const answers = await Promise.all(Array.from({ length: 130 }, () => post(agent.runId, body, headers)))
    expect(answers.some(({ status }) => status === 429)).toBe(true)
    expect((await agent.post(1, [said('mine')])).status).toBe(200)
  })
})

describe('outside of a chat', () => {
  it('no answer comes by callback, and the agent is not asked for one', async () => {
    const key = crypto.randomUUID()
    const { agentId } = await chatAt(`${env.RECEIVER_URL}/upstream/status?code=202&key=${key}`, world)
    const answer = await call('POST', `/api/v1/agents/${agentId}/test`, {
      token: world.admin.token,
      body: { content: 'Work' },
    })
    const events = await new EventReader(answer.body).rest()
    expect(events.at(-1)).toMatchObject({
      type: 'error',
      data: { code: 'upstream_error', message: expect.stringContaining('which only a chat can take') },
    })
    expect((await firstRequest(key)).headers).not.toHaveProperty('x-causeway-run-token')
  })
})
