import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { keeperOfAgents } from '../../../src/domains/chat/agents/sync/keeper'
import { providerNamed } from '../../../src/domains/voice/calls/port'
import { callJson, makeWorld } from '../../world'
import { credit, drive, drivenAt, eventsOf, ledgerOf, place, rowOf } from '../calls/kit'
import {
  askedOf,
  atTelnyx,
  atUltravox,
  becomes,
  callOut,
  FROM,
  failing,
  makeUltravoxAgent,
  makeVoice,
  message,
  placedCall,
  readAgent,
  TO,
  telnyxTells,
  ultravoxTells,
  until,
} from './kit'

const secondsAgo = (seconds: number) => new Date(Date.now() - seconds * 1_000).toISOString()
const plus = (time: string, seconds: number) => new Date(Date.parse(time) + seconds * 1_000).toISOString()

describe('a call by Ultravox and Telnyx', () => {
  it('has its agent wait at Ultravox, and Telnyx dial and bring who answers there', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    expect(call).toMatchObject({ status: 'ringing', provider: 'ultravox', from: FROM, to: TO })
    const [started, ...others] = await askedOf(voice, 'ultravox', 'POST /api/agents/')
    expect(others).toEqual([])
    expect(started?.headers['x-api-key']).toBe('uv_of_the_tests')
    expect(started?.body).toMatchObject({
      medium: { telnyx: {} },
      metadata: { causeway_call_id: call.id },
      firstSpeakerSettings: { agent: { text: 'Hello!' } },
      maxDuration: '3600s',
    })
    const [dialled, ...again] = await askedOf(voice, 'telnyx', 'POST /v2/calls')
    expect(again).toEqual([])
    expect(dialled?.headers.authorization).toBe('Bearer KEY_of_the_tests')
    expect(dialled?.body).toMatchObject({
      connection_id: '1494404757140276705',
      ...{ to: TO, from: FROM, command_id: call.id, client_state: btoa(call.id) },
      stream_url: `wss://voice.example.com/calls/${call.provider_call_id}/telnyx`,
      stream_bidirectional_mode: 'rtp',
    })
  })

  it('is told by webhooks from its ringing to its end, with what was said and the recording', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    const joined = secondsAgo(20)
    await telnyxTells(await atTelnyx(voice, call, { event: 'call.answered', occurred_at: joined }))
    expect(await rowOf(call.id)).toMatchObject({ status: 'in_progress', started_at: joined })
    const messages = [
      message('AGENT', 'Hello!', 0, 1.5),
      message('TOOL_CALL', '{}', 1.5, 2),
      message('USER', 'Hi there.', 2, 3.25),
    ]
    await atUltravox(voice, call, { joined, messages, recording: btoa('RIFFaudio') })
    await until(voice, call.id, ({ turns }) => turns === 1)

    const ended = plus(joined, 10)
    await telnyxTells(
      await atTelnyx(voice, call, {
        event: 'call.hangup',
        hangup_cause: 'normal_clearing',
        occurred_at: ended,
      }),
    )
    await ultravoxTells('call.ended', await atUltravox(voice, call, { ended, endReason: 'hangup' }))
    const done = await until(voice, call.id, ({ recording }) => recording === 'kept')
    expect(done).toMatchObject({
      status: 'completed',
      ended_at: ended,
      ended_reason: 'hangup',
      duration_seconds: 10,
      cost: 2,
    })

    const { token } = voice.world.admin
    const transcript = await callJson<object[]>('GET', `/api/v1/calls/${call.id}/transcript`, { token })
    const shifted = (seconds: number) => plus(joined, seconds)
    expect(transcript.data).toEqual([
      expect.objectContaining({ role: 'agent', text: 'Hello!', started_at: joined, ended_at: shifted(1.5) }),
      expect.objectContaining({
        role: 'user',
        text: 'Hi there.',
        started_at: shifted(2),
        ended_at: shifted(3.25),
      }),
    ])
    const recording = await callJson<{ url: string; content_type: string }>(
      'GET',
      `/api/v1/calls/${call.id}/recording`,
      { token },
    )
    expect(recording.data.content_type).toBe('audio/wav')
    expect((await ledgerOf(voice.world)).at(-1)).toMatchObject({
      kind: 'spend',
      amount: -2,
      balance_after: 9_998,
    })
    expect((await eventsOf(voice.world)).map(({ type }) => type)).toEqual(['call.started', 'call.ended'])
  })

  it('hangs up the line that its agent left, which Ultravox does not', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    const joined = secondsAgo(40)
    await telnyxTells(await atTelnyx(voice, call, { event: 'call.answered', occurred_at: joined }))
    const ended = new Date().toISOString()
    await failing(voice, 'telnyx', { at: 'POST /v2/calls/', status: 503, times: 5 })
    await ultravoxTells(
      'call.ended',
      await atUltravox(voice, call, { joined, ended, endReason: 'agent_hangup' }),
    )
    expect(await rowOf(call.id)).toMatchObject({
      status: 'completed',
      ended_reason: 'agent_hangup',
      hang_up: 1,
    })
    await until(voice, call.id, ({ hang_up }) => !hang_up)
    const hangups = (await askedOf(voice, 'telnyx', 'POST /v2/calls/')).filter(({ path }) =>
      path.endsWith('/actions/hangup'),
    )
    expect(hangups.length).toBeGreaterThan(5)
  })

  for (const [cause, status, ended_reason] of [
    ['timeout', 'no_answer', 'no_answer'],
    ['user_busy', 'no_answer', 'busy'],
    ['call_rejected', 'no_answer', 'rejected'],
    ['not_found', 'failed', 'invalid_number'],
  ])
    it(`that nobody answers costs nothing: ${cause}`, async () => {
      const voice = await makeVoice()
      const call = await placedCall(voice)
      await telnyxTells(await atTelnyx(voice, call, { event: 'call.hangup', hangup_cause: cause }))
      expect(await rowOf(call.id)).toMatchObject({
        status,
        ended_reason,
        cost: 0,
        reserved: 0,
        recording: 'none',
      })
    })

  it('goes on by what is found where no webhook ever comes', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    const joined = secondsAgo(20)
    await atTelnyx(voice, call, { event: 'call.answered', occurred_at: joined })
    await atUltravox(voice, call, { joined, messages: [message('AGENT', 'Hello!', 0, 1)] })
    await until(voice, call.id, ({ status }) => status === 'in_progress', 6_000)
    const ended = plus(joined, 10)
    await atTelnyx(voice, call, { event: 'call.hangup', hangup_cause: 'normal_clearing', occurred_at: ended })
    await atUltravox(voice, call, { ended, endReason: 'hangup' })
    const done = await until(voice, call.id, ({ status }) => status === 'completed', 6_000)
    expect(done).toMatchObject({ started_at: joined, ended_at: ended, duration_seconds: 10 })
  })

  it('learns from what Telnyx told why nobody answered', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    await atTelnyx(voice, call, { event: 'call.hangup', hangup_cause: 'user_busy' })
    const done = await until(voice, call.id, ({ status }) => status !== 'ringing', 6_000)
    expect(done).toMatchObject({ status: 'no_answer', ended_reason: 'busy', cost: 0 })
  })

  it('is given up, and not charged, where who answered hears nobody', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    await telnyxTells(await atTelnyx(voice, call, { event: 'call.answered', occurred_at: secondsAgo(40) }))
    const done = await until(voice, call.id, ({ status }) => status === 'failed')
    expect(done).toMatchObject({ ended_reason: 'provider_error', cost: 0 })
    expect((await askedOf(voice, 'telnyx', 'POST /v2/calls/')).length).toBeGreaterThan(0)
  })

  it('is hung up and not charged where its sound can’t be streamed', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    await telnyxTells(await atTelnyx(voice, call, { event: 'call.answered' }))
    await telnyxTells(
      await atTelnyx(voice, call, { event: 'streaming.failed', failure_reason: 'connection refused' }),
    )
    expect(await rowOf(call.id)).toMatchObject({ status: 'failed', cost: 0 })
    await until(voice, call.id, ({ hang_up }) => !hang_up)
    expect((await askedOf(voice, 'telnyx', 'POST /v2/calls/')).length).toBeGreaterThan(0)
  })

  it('that is ended here is hung up there', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    const { status } = await callJson('POST', `/api/v1/calls/${call.id}/end`, {
      token: voice.world.admin.token,
    })
    expect(status).toBe(200)
    await becomes(call.id, ({ hang_up }) => !hang_up)
    expect((await askedOf(voice, 'telnyx', 'POST /v2/calls/')).length).toBeGreaterThan(0)
  })
})

describe('webhooks that come late, twice, in another order, or of others', () => {
  it('an end before the start is looked into, and a start after the end means nothing', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    const joined = secondsAgo(20)
    const ended = plus(joined, 10)
    const answered = await atTelnyx(voice, call, { event: 'call.answered', occurred_at: joined })
    const hangup = await atTelnyx(voice, call, {
      event: 'call.hangup',
      hangup_cause: 'normal_clearing',
      occurred_at: ended,
    })
    await atUltravox(voice, call, { joined, ended, endReason: 'hangup' })
    await telnyxTells(hangup)
    const done = await becomes(call.id, ({ status }) => status === 'completed')
    expect(done).toMatchObject({ started_at: joined, ended_at: ended, duration_seconds: 10, cost: 2 })
    expect((await telnyxTells(answered)).status).toBe(200)
    expect(await rowOf(call.id)).toMatchObject({ status: 'completed', started_at: joined, cost: 2 })
  })

  it('the same twice is done once', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    const answered = await atTelnyx(voice, call, { event: 'call.answered' })
    const receipts = await Promise.all([telnyxTells(answered), telnyxTells(answered), telnyxTells(answered)])
    expect(receipts.filter(({ data }) => !data.duplicate).length).toBe(1)
    const types = (await eventsOf(voice.world)).map(({ type }) => type)
    expect(types.filter((type) => type === 'call.started').length).toBe(1)
  })

  it('what another tenant’s account says of a call is that tenant’s alone', async () => {
    const [voice, other] = [await makeVoice(), await makeVoice()]
    const [call, theirs] = [await placedCall(voice), await placedCall(other)]
    const { data } = await atTelnyx(other, theirs, { event: 'call.answered' })
    const payload = { ...(data.payload as object), client_state: btoa(call.id) }
    await telnyxTells({ data: { ...data, payload } })
    expect(await rowOf(call.id)).toMatchObject({ status: 'ringing' })
    expect(await rowOf(theirs.id)).toMatchObject({ status: 'in_progress' })
    const unknown = { ...payload, call_control_id: 'v3:nobody-asked-for-it' }
    const { status } = await telnyxTells({ data: { ...data, id: crypto.randomUUID(), payload: unknown } })
    expect(status).toBe(202)
  })
})

describe('who may call by which number', () => {
  it('the only number of an account need not be named', async () => {
    const voice = await makeVoice()
    expect((await callOut(voice)).data.from).toBe(FROM)
  })

  it('one of several is named, and it must be the account’s', async () => {
    const voice = await makeVoice({}, [FROM, '+15550100002'])
    const without = await callOut(voice)
    expect([without.status, without.error.details.fields]).toEqual([
      422,
      { from: 'must be given: your Telnyx account has several numbers' },
    ])
    expect((await callOut(voice, { from: '+15550100002' })).status).toBe(201)
    const stranger = await callOut(voice, { from: '+15550100003' })
    expect([stranger.status, Object.keys(stranger.error.details.fields ?? {})]).toEqual([422, ['from']])
  })

  it('an account without a number, or that can’t be reached, says so', async () => {
    const voice = await makeVoice({}, [])
    expect((await callOut(voice)).error.details.fields?.from).toContain('has no active number')
    await failing(voice, 'telnyx', {
      at: 'GET /v2/phone_numbers',
      status: 401,
      json: { errors: [{ detail: 'no' }] },
    })
    const refused = await callOut(voice)
    expect([refused.status, refused.error.code]).toEqual([502, 'provider_refused'])
  })

  it('an agent of another kind does not call by Ultravox', async () => {
    const voice = await makeVoice()
    const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: voice.world.admin.token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const { status, error } = await callOut({ ...voice, agent: made.data.id })
    expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, ['agent_id']])
  })
})

const operators = (name: string) => ({
  ...{ ULTRAVOX_API_KEY: 'uv_operator', ULTRAVOX_BASE_URL: `${env.RECEIVER_URL}/ultravox/${name}` },
  ...{ TELNYX_API_KEY: 'KEYoperator', TELNYX_BASE_URL: `${env.RECEIVER_URL}/telnyx/${name}` },
  ...{ TELNYX_CONNECTION_ID: '4711', CALL_FROM: FROM },
})

describe('the operator’s accounts', () => {
  it('call by the operator’s number alone, and have Telnyx tell here', async () => {
    const world = await makeWorld()
    await credit(world, 100)
    const name = world.tenant.id
    const settings = operators(name)
    const ctx = drivenAt(world, Date.now(), settings)
    const provider = providerNamed('ultravox')
    if (!provider) throw new Error('there is no such provider')
    expect(await provider.serves(ctx)).toBe('operator')
    expect(await provider.callerNumber(ctx, undefined)).toBe(FROM)
    await expect(provider.callerNumber(ctx, '+15550100009')).rejects.toMatchObject({
      code: 'validation_failed',
    })

    const agent = await makeUltravoxAgent(world)
    const [call] = await place(world, [{ agent_id: agent, from: FROM }], { provider, ctx })
    await drive(world, Date.now(), settings)
    expect(await rowOf(call?.id ?? '')).toMatchObject({ status: 'ringing' })
    const [dialled] = await askedOf({ name }, 'telnyx', 'POST /v2/calls')
    expect(dialled?.body).toMatchObject({
      connection_id: '4711',
      webhook_url: 'http://localhost:8787/api/v1/webhooks/telnyx',
    })
  })

  it('say alone what becomes of a call that they carry, whatever accounts the tenant sets up since', async () => {
    const world = await makeWorld()
    await credit(world, 100)
    const name = world.tenant.id
    const settings = operators(name)
    const ctx = drivenAt(world, Date.now(), settings)
    const provider = providerNamed('ultravox')
    if (!provider) throw new Error('there is no such provider')
    const agent = await makeUltravoxAgent(world)
    const [call] = await place(world, [{ agent_id: agent, from: FROM }], { provider, ctx })
    await drive(world, Date.now(), settings)
    const placed = await rowOf(call?.id ?? '')
    expect(placed).toMatchObject({ status: 'ringing', own: 0 })

    // Servers of the tenant’s know nothing of it, which would end it at no cost.
    const mine = `mine-${name}`
    for (const [kind, api_key] of [
      ['ultravox', 'uv_mine'],
      ['telnyx', 'KEYmine'],
    ])
      await callJson('PATCH', `/api/v1/auth/providers/${kind}`, {
        token: world.admin.token,
        body: {
          ...{ api_key, base_url: `${env.RECEIVER_URL}/${kind}/${mine}` },
          options: kind === 'telnyx' ? { connection_id: '1' } : {},
        },
      })
    await drive(world, Date.now() + 31_000, settings)
    expect(await rowOf(placed?.id ?? '')).toMatchObject({ status: 'ringing' })
    const { token } = world.admin
    expect((await callJson('POST', `/api/v1/calls/${placed?.id}/end`, { token })).status).toBe(200)
    await drive(world, Date.now() + 62_000, settings)
    expect(await rowOf(placed?.id ?? '')).toMatchObject({ hang_up: 0 })
    const hangups = await askedOf({ name }, 'telnyx', 'POST /v2/calls/')
    expect(hangups.map(({ headers }) => headers.authorization)).toEqual(['Bearer KEYoperator'])
    expect(await askedOf({ name: mine }, 'telnyx')).toEqual([])
  })

  it('have no agent left that was theirs before the tenant had an account of its own', async () => {
    const voice = await makeVoice()
    const operator = operators(`op-${voice.name}`)
    const ctx = drivenAt(voice.world, Date.now(), operator)
    const there = `${operator.ULTRAVOX_BASE_URL}/api/agents`
    const headers = { 'X-API-Key': 'uv_operator', 'Content-Type': 'application/json' }
    const body = JSON.stringify({ name: `Caller-${voice.agent}`, callTemplate: {} })
    expect((await fetch(there, { method: 'POST', headers, body })).ok).toBe(true)
    const { data } = await readAgent(voice.world, voice.agent)
    await keeperOfAgents()?.remove(ctx, { id: voice.agent, provider_agent_id: data.provider_agent_id })
    expect(await (await fetch(there, { headers })).json()).toMatchObject({ results: [] })
    expect((await askedOf(voice, 'ultravox', 'DELETE /api/agents/')).length).toBe(1)
  })

  it('do not carry calls together with one of the tenant’s', async () => {
    const world = await makeWorld()
    await callJson('PATCH', '/api/v1/auth/providers/telnyx', {
      token: world.admin.token,
      body: { api_key: 'KEYmine', base_url: `${env.RECEIVER_URL}/telnyx/${world.tenant.id}` },
    })
    const ctx = drivenAt(world, Date.now(), { ...operators(world.tenant.id), CALL_PROVIDER: 'ultravox' })
    await expect(providerNamed('ultravox')?.serves(ctx)).rejects.toMatchObject({
      code: 'provider_not_configured',
      details: { kind: 'ultravox' },
    })
    const simulating = drivenAt(world, Date.now(), {
      ...operators(world.tenant.id),
      CALL_PROVIDER: 'simulated',
    })
    expect(await providerNamed('ultravox')?.serves(simulating)).toBe(null)
  })
})
