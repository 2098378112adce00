import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { providerNamed } from '../../../src/domains/voice/calls/port'
import { eventually } from '../../webhooks/receiver'
import { callJson } from '../../world'
import { drive, eventsOf, ledgerOf, place, rowOf } from '../calls/kit'
import {
  askedOf,
  atTelnyx,
  atUltravox,
  becomes,
  callOut,
  failing,
  makeUltravoxAgent,
  makeVoice,
  readAgent,
  until,
  type Voice,
} from './kit'

const DIAL = 'POST /v2/calls'

/** Places a call that only the test drives. */
async function placed(voice: Voice) {
  const provider = providerNamed('ultravox')
  if (!provider) throw new Error('there is no such provider')
  const [call] = await place(voice.world, [{ agent_id: voice.agent }], { provider })
  return call?.id ?? ''
}

describe('providers that are late, busy or wrong', () => {
  it('429 is asked again, not before its Retry-After', async () => {
    const voice = await makeVoice()
    await failing(voice, 'telnyx', { at: DIAL, status: 429, headers: { 'Retry-After': '1' } })
    const id = await placed(voice)
    const before = Date.now()
    await drive(voice.world, before)
    expect(await rowOf(id)).toMatchObject({ status: 'ringing' })
    expect(Date.now() - before).toBeGreaterThanOrEqual(1_000)
    expect((await askedOf(voice, 'telnyx', DIAL)).length).toBe(2)
  })

  it('what failed after it was done is asked again under the same command: it is dialled once', async () => {
    const voice = await makeVoice()
    await failing(voice, 'telnyx', { at: DIAL, status: 500, done: true, times: 2 })
    const id = await placed(voice)
    await drive(voice.world, Date.now())
    const row = await rowOf(id)
    expect(row?.status).toBe('ringing')
    const dialled = await askedOf(voice, 'telnyx', DIAL)
    expect(new Set(dialled.map(({ body }) => body.command_id))).toEqual(new Set([id]))
    expect(dialled.length).toBe(3)
    expect(row?.carrier_call_id).toMatch(/^v3:/)
  })

  it('a crash between asking and storing is made good: the call is found, and nobody is called twice', async () => {
    const voice = await makeVoice()
    // Every answer is lost; Telnyx would dial anew, had it forgotten the command.
    await failing(voice, 'telnyx', { at: DIAL, drop: true, done: true, times: 3 })
    const id = await placed(voice)
    await drive(voice.world, Date.now())
    expect(await rowOf(id)).toMatchObject({ status: 'queued', carrier_call_id: null, failures: 1 })
    const asked = (await askedOf(voice, 'telnyx', DIAL)).length
    const found = await until(voice, id, ({ status }) => status === 'ringing', 2_000)
    expect(found.carrier_call_id).toMatch(/^v3:/)
    expect((await askedOf(voice, 'telnyx', DIAL)).length).toBe(asked)
    const [waiting, ...others] = await askedOf(voice, 'ultravox', 'POST /api/agents/')
    expect([waiting !== undefined, others.length]).toEqual([true, 0])
  })

  it('one that rang out meanwhile is found as well', async () => {
    const voice = await makeVoice()
    await failing(voice, 'telnyx', { at: DIAL, drop: true, done: true, times: 3 })
    const id = await placed(voice)
    await drive(voice.world, Date.now())
    const [call] = (await (await fetch(`${env.RECEIVER_URL}/telnyx/${voice.name}/control/calls`)).json()) as {
      call_control_id: string
    }[]
    await atTelnyx(
      voice,
      { carrier_call_id: call?.call_control_id ?? '' },
      { event: 'call.hangup', hangup_cause: 'timeout' },
    )
    const done = await until(voice, id, ({ status }) => status === 'no_answer', 6_000)
    expect(done).toMatchObject({ ended_reason: 'no_answer', cost: 0 })
    expect((await askedOf(voice, 'telnyx', DIAL)).length).toBe(3)
  })

  it('a number that Telnyx refuses ends the call at once, and what was held is given back', async () => {
    const voice = await makeVoice()
    await failing(voice, 'telnyx', {
      at: DIAL,
      status: 403,
      json: {
        errors: [{ code: '10038', title: 'Forbidden', detail: 'KEY_of_the_tests may not call there' }],
      },
    })
    const id = await placed(voice)
    await drive(voice.world, Date.now())
    expect(await rowOf(id)).toMatchObject({
      status: 'failed',
      ended_reason: 'provider_error',
      cost: 0,
      reserved: 0,
    })
    expect((await ledgerOf(voice.world)).map(({ kind }) => kind)).toEqual(['grant', 'reserve', 'release'])
    expect((await eventsOf(voice.world)).map(({ type }) => type)).toEqual(['call.ended'])
  })

  for (const [words, fault] of [
    ['is no JSON', { text: '<html>' }],
    ['lacks what was asked for', { json: { data: {} } }],
    ['is an error page', { status: 502, text: 'Bad Gateway' }],
    ['breaks off', { drop: true }],
  ] as const)
    it(`an answer that ${words} is no call, and is made good`, async () => {
      const voice = await makeVoice()
      await failing(voice, 'ultravox', { at: 'POST /api/agents/', times: 3, ...fault })
      const id = await placed(voice)
      await drive(voice.world, Date.now())
      expect(await rowOf(id)).toMatchObject({ status: 'queued', failures: 1 })
      const row = await until(voice, id, ({ status }) => status !== 'queued', 3_000)
      expect(row).toMatchObject({ status: 'ringing' })
      expect((await askedOf(voice, 'telnyx', DIAL)).length).toBe(1)
    })

  it('a look that fails changes nothing, and the next one sees', async () => {
    const voice = await makeVoice()
    const id = await placed(voice)
    await drive(voice.world, Date.now())
    const row = await rowOf(id)
    await failing(voice, 'telnyx', { at: 'GET /v2/calls/', status: 500, times: 3 })
    await drive(voice.world, Date.now() + 6_000)
    expect(await rowOf(id)).toMatchObject({ status: 'ringing', failures: 1 })
    await atTelnyx(
      voice,
      { carrier_call_id: row?.carrier_call_id ?? '' },
      { event: 'call.hangup', hangup_cause: 'user_busy' },
    )
    await until(voice, id, ({ status }) => status === 'no_answer', 6_000)
  })

  it('a call that both have forgotten is over', async () => {
    const voice = await makeVoice()
    const id = await placed(voice)
    await drive(voice.world, Date.now())
    await failing(voice, 'telnyx', { at: 'GET /v2/calls/', status: 404, times: 20 })
    await failing(voice, 'ultravox', { at: 'GET /api/calls/', status: 404, times: 20 })
    expect(await until(voice, id, ({ status }) => status !== 'ringing', 6_000)).toMatchObject({
      status: 'failed',
      cost: 0,
    })
  })

  it('a recording that comes late is waited for; one that never comes is none', async () => {
    const voice = await makeVoice()
    const made = await callOut(voice)
    const call = await becomes(made.data.id, ({ carrier_call_id }) => carrier_call_id !== null)
    const joined = new Date().toISOString()
    await atTelnyx(voice, call, { event: 'call.answered' })
    await atTelnyx(voice, call, { event: 'call.hangup', hangup_cause: 'normal_clearing' })
    await atUltravox(voice, call, { joined, ended: joined, endReason: 'hangup' })
    expect(await until(voice, call.id, ({ recording }) => recording !== null, 6_000)).toMatchObject({
      recording: 'pending',
    })
    await atUltravox(voice, call, { recording: btoa('RIFFlate') })
    await until(voice, call.id, ({ recording }) => recording === 'kept', 60_000)
  })
})

describe('an agent that Ultravox keeps', () => {
  it('is made there with all that it says and knows, and changed as it changes here', async () => {
    const voice = await makeVoice({ language: 'de-CH', config: { temperature: 0.4 }, greeting: null })
    const { world, agent } = voice
    const [made, ...others] = await askedOf(voice, 'ultravox', 'POST /api/agents')
    expect(others).toEqual([])
    expect(made?.body).toMatchObject({
      name: `Caller-${agent}`,
      callTemplate: {
        ...{ systemPrompt: 'You are kind.', languageHint: 'de-CH', temperature: 0.4, recordingEnabled: true },
        firstSpeakerSettings: { user: {} },
      },
    })
    const { status } = await callJson('PATCH', `/api/v1/agents/${agent}`, {
      token: world.admin.token,
      body: { greeting: 'Grüezi!' },
    })
    expect(status).toBe(200)
    const patched = await eventually(async () => (await askedOf(voice, 'ultravox', 'PATCH /api/agents/'))[0])
    expect(patched.body).toMatchObject({
      callTemplate: { firstSpeakerSettings: { agent: { text: 'Grüezi!' } } },
    })
  })

  it('is found again where the answer that made it was lost', async () => {
    const voice = await makeVoice()
    await failing(voice, 'ultravox', { at: 'POST /api/agents', drop: true, done: true })
    const id = await makeUltravoxAgent(voice.world, { name: 'Lost' })
    await eventually(async () => (await readAgent(voice.world, id)).data.sync_status === 'synced')
    const made = (await askedOf(voice, 'ultravox', 'POST /api/agents')).filter(({ body }) =>
      String(body.name).startsWith('Lost'),
    )
    expect(made.length).toBeGreaterThan(0)
    const there = (await (
      await fetch(`${env.RECEIVER_URL}/ultravox/${voice.name}/control/agents`)
    ).json()) as { name: string }[]
    expect(there.filter(({ name }) => name.endsWith(id)).length).toBe(1)
  })

  it('whose provider refuses it says so, and does not call', async () => {
    const voice = await makeVoice()
    const id = await makeUltravoxAgent(voice.world, { config: { temperature: 1.5 } })
    const { data } = await readAgent(voice.world, id)
    expect(data).toMatchObject({ sync_status: 'failed', provider_agent_id: null })
    expect(data.sync_error).toContain('answered 400')
    const { status, error } = await callOut({ ...voice, agent: id })
    expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, ['agent_id']])
  })

  it('that the account does not know (any more) is made there before it calls', async () => {
    const voice = await makeVoice()
    const there = await readAgent(voice.world, voice.agent)
    await fetch(`${env.RECEIVER_URL}/ultravox/${voice.name}/api/agents/${there.data.provider_agent_id}`, {
      method: 'DELETE',
      headers: { 'X-API-Key': 'uv_x' },
    })
    const id = await placed(voice)
    await drive(voice.world, Date.now())
    expect(await rowOf(id)).toMatchObject({ status: 'ringing' })
    expect((await readAgent(voice.world, voice.agent)).data.provider_agent_id).not.toBe(
      there.data.provider_agent_id,
    )
  })

  it('that is deleted here is deleted there', async () => {
    const voice = await makeVoice()
    await callJson('DELETE', `/api/v1/agents/${voice.agent}`, { token: voice.world.admin.token })
    await eventually(async () => (await askedOf(voice, 'ultravox', 'DELETE /api/agents/'))[0])
  })
})
