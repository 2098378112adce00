import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { tenantKeepings } from '../../../src/data/erasure'
import { kindOf } from '../../../src/domains/jobs/kinds'
import type { Job } from '../../../src/domains/jobs/schema'
import { type Bindings, settingsOf } from '../../../src/env'
import { upload } from '../../files/kit'
import { expectError } from '../../http/expect-error'
import { serviceWith } from '../../http/service'
import { endedJob } from '../../jobs/kit'
import { eventually } from '../../webhooks/receiver'
import { call, callJson, makeWorld, type World } from '../../world'
import { clone, make, ownAccount, read, sample, speechServer, type VoiceView } from './kit'

const PATH = '/api/v1/voices'
const preview = (world: World, id: string, headers: Record<string, string> = {}) =>
  call('GET', `${PATH}/${id}/preview`, { token: world.viewer.token, headers })
const remove = (world: World, id: string) => call('DELETE', `${PATH}/${id}`, { token: world.developer.token })
const readyClone = async (world: World) => {
  const { data } = await clone(world)
  await endedJob(world, data.job_id ?? '')
  return read(world, data.id)
}
const removalJob = async (world: World): Promise<Job> => {
  const list = await callJson<Job[]>('GET', '/api/v1/jobs?kind=voices.remove', {
    token: world.developer.token,
  })
  return endedJob(world, list.data[0]?.id ?? '')
}
/** The service whose operator has an account with a server of ElevenLabs' protocol. */
const operatedBy = ({ base_url, api_key }: { base_url: string; api_key: string }) => ({
  ...{ TTS_PROVIDER: 'elevenlabs', TTS_BASE_URL: base_url, TTS_API_KEY: api_key },
  ...{ ULTRAVOX_BASE_URL: base_url, ULTRAVOX_API_KEY: api_key },
})

describe('a clone', { timeout: 60_000 }, () => {
  it('is made from samples, heard, changed and deleted', async () => {
    const world = await makeWorld()
    const { status, data: voice } = await clone(world)
    expect([status, voice]).toMatchObject([
      201,
      { kind: 'clone', status: 'queued', language: 'de-CH', provider: 'simulated', own: false },
    ])
    const job = await endedJob(world, voice.job_id ?? '')
    expect(job).toMatchObject({ status: 'completed', result: { status: 'ready' } })
    expect(await read(world, voice.id)).toMatchObject({
      status: 'ready',
      provider_voice_id: `clone-${voice.id}`,
    })
    const listed = await callJson<VoiceView[]>('GET', PATH, { token: world.viewer.token })
    expect(listed.data.map(({ id }) => id)).toEqual([voice.id])
    for (const [query, found] of [
      ['kind=clone&status=ready', 1],
      ['status=failed', 0],
      ['kind=external', 0],
      ['created_after=2020-01-01T00:00:00Z', 1],
      ['created_before=2020-01-01T00:00:00Z', 0],
    ] as const) {
      const { data } = await callJson<VoiceView[]>('GET', `${PATH}?${query}`, { token: world.viewer.token })
      expect([query, data.length]).toEqual([query, found])
    }
    const body = { name: 'Night desk', language: null }
    const changed = await callJson<VoiceView>('PATCH', `${PATH}/${voice.id}`, {
      token: world.developer.token,
      body,
    })
    expect(changed.data).toMatchObject({ name: 'Night desk', language: null, status: 'ready' })
    expect((await preview(world, voice.id)).status).toBe(200)
    expect((await remove(world, voice.id)).status).toBe(204)
    await expectError(preview(world, voice.id), 'not_found')
    expect((await removalJob(world)).result).toEqual({ removed: true })
    expect((await env.FILES.list({ prefix: `${world.tenant.id}/voices/` })).objects).toEqual([])
  })

  it('sounds like something that players play, and is known again', async () => {
    const world = await makeWorld()
    const voice = await readyClone(world)
    const answer = await preview(world, voice.id)
    expect(answer.headers.get('Content-Type')).toBe('audio/wav')
    const bytes = new DataView(await answer.arrayBuffer())
    // RIFF, WAVE, PCM, mono, 16 bits; the sizes are those of the bytes.
    expect([bytes.getUint32(0), bytes.getUint32(8), bytes.getUint16(20, true)]).toEqual([
      0x52494646, 0x57415645, 1,
    ])
    expect([bytes.getUint32(4, true), bytes.getUint32(40, true)]).toEqual([
      bytes.byteLength - 8,
      bytes.byteLength - 44,
    ])
    const rate = bytes.getUint32(24, true)
    const samples = new Int16Array(bytes.buffer, 44)
    expect(samples.length / rate).toBeGreaterThan(1)
    expect(Math.max(...samples.map(Math.abs))).toBeGreaterThan(3_000)
    const etag = answer.headers.get('ETag') ?? ''
    expect((await preview(world, voice.id, { 'If-None-Match': etag })).status).toBe(304)
    const again = await (await preview(world, voice.id)).arrayBuffer()
    expect(new Uint8Array(again)).toEqual(new Uint8Array(bytes.buffer))
  })

  it('leaves the agents that had it', async () => {
    const world = await makeWorld()
    const voice = await readyClone(world)
    const body = { name: 'Caller', kind: 'echo', voice_id: voice.id }
    const agent = await callJson<{ id: string; voice_id: string | null }>('POST', '/api/v1/agents', {
      token: world.developer.token,
      body,
    })
    expect([agent.status, agent.data.voice_id]).toEqual([201, voice.id])
    await remove(world, voice.id)
    const after = await callJson<{ voice_id: string | null }>('GET', `/api/v1/agents/${agent.data.id}`, {
      token: world.viewer.token,
    })
    expect(after.data.voice_id).toBeNull()
  })

  it('needs samples of one’s own that are sound', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const ask = async (file_ids: string[]) =>
      (await make(world, { name: 'x', kind: 'clone', file_ids })).error?.details.fields
    const said = { purpose: 'voice_sample', filename: 'a.wav', content_type: 'application/octet-stream' }
    const [one, text, else_, theirs] = await Promise.all([
      sample(world),
      upload(world.developer, 'no sound at all, whatever its name', said),
      upload(world.developer, 'x', { ...said, purpose: 'audio' }),
      sample(other),
    ])
    expect(await ask([one.id, text.id])).toEqual({ 'file_ids.1': expect.stringContaining('WAV, MP3') })
    expect(await ask([else_.id])).toEqual({ 'file_ids.0': expect.stringContaining('voice_sample') })
    expect(await ask([theirs.id])).toEqual({ 'file_ids.0': expect.stringContaining('There is no file') })
    expect(await ask([one.id, one.id])).toEqual({ file_ids: 'must name each file once' })
    expect(await ask([])).toEqual({ file_ids: 'must name at least one file' })
    const sized = (size: number) =>
      env.DB.prepare('update files set size = ? where id = ?').bind(size, one.id).run()
    await sized(11 * 1024 * 1024)
    expect(await ask([one.id])).toEqual({ 'file_ids.0': 'must have at most 10 MiB' })
    await sized(10 * 1024 * 1024)
    const more = await Promise.all([sample(world), sample(world, 'mp3')])
    await env.DB.prepare('update files set size = ? where id in (?, ?)')
      .bind(6 * 1024 * 1024, ...more.map(({ id }) => id))
      .run()
    expect(await ask([one.id, ...more.map(({ id }) => id)])).toEqual({
      file_ids: 'must have at most 20 MiB in all',
    })
  })

  it('can be heard once it is ready', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'tts')
    await server.fail({ at: 'POST /v1/voices/add', status: 503, times: 99 })
    const { data } = await clone(world)
    const { details } = await expectError(preview(world, data.id), 'conflict')
    expect(details.status).toBe('queued')
    // Whoever stops the job is told so by the voice, too.
    await callJson('POST', `/api/v1/jobs/${data.job_id}/cancel`, { token: world.developer.token })
    expect(await read(world, data.id)).toMatchObject({ status: 'failed', error: 'was cancelled' })
  })
})

describe('a clone at ElevenLabs', { timeout: 60_000 }, () => {
  it('is made of the samples’ own bytes, under the tenant’s own key', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'tts')
    const voice = await readyClone(world)
    expect(voice).toMatchObject({ provider: 'elevenlabs', own: true, status: 'ready' })
    const kept = (await server.voices()).find(({ voice_id }) => voice_id === voice.provider_voice_id)
    expect(kept).toMatchObject({
      ...{ name: 'Front desk', category: 'cloned' },
      labels: { causeway_tenant: world.tenant.id, causeway_voice: voice.id },
    })
    const added = (await server.asked()).find(({ at }) => at === 'POST /v1/voices/add')
    expect(added?.headers['x-api-key']).toBe(server.api_key)
    expect(added?.body).toMatchObject({
      files: [{ name: 'sample-1.wav', type: 'audio/wav', size: 64, head: 'RIFF' }],
    })
    const heard = await preview(world, voice.id)
    expect([heard.status, heard.headers.get('Content-Type')]).toEqual([200, 'audio/mpeg'])
    await preview(world, voice.id)
    const spoken = (await server.asked()).filter(({ path }) => path.startsWith('/v1/text-to-speech/'))
    expect(spoken.map(({ body }) => body)).toEqual([
      { text: expect.stringContaining('Guten Tag'), model_id: 'eleven_multilingual_v2' },
    ])
    await remove(world, voice.id)
    expect((await removalJob(world)).result).toEqual({ removed: true })
    expect((await server.voices()).map(({ category }) => category)).toEqual(['premade'])
  })

  it('is made once though its answer is lost, late or nonsense', async () => {
    for (const fault of [
      { done: true, drop: true },
      { done: true, status: 504 },
      { done: true, text: 'no JSON' },
      { done: true, json: { voice: 7 } },
    ]) {
      const world = await makeWorld()
      const server = await ownAccount(world, 'tts')
      await server.fail({ at: 'POST /v1/voices/add', ...fault })
      const voice = await readyClone(world)
      const clones = (await server.voices()).filter(({ category }) => category === 'cloned')
      expect([fault, voice.status, clones.map(({ voice_id }) => voice_id)]).toEqual([
        fault,
        'ready',
        [voice.provider_voice_id],
      ])
    }
  })

  it('is made though its server always has another page', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'tts')
    const endless = { voices: [], has_more: true, next_page_token: '1' }
    await server.fail({ at: 'GET /v2/voices', done: true, times: 1_000, json: endless })
    expect((await readyClone(world)).status).toBe('ready')
  })

  it('waits for a provider that is busy, not sooner than it says', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'tts')
    const busy = { at: 'POST /v1/voices/add', status: 429, headers: { 'Retry-After': '1' } }
    await server.fail(busy, { ...busy, status: 500 })
    const began = Date.now()
    expect((await readyClone(world)).status).toBe('ready')
    expect(Date.now() - began).toBeGreaterThan(1_900)
  })

  it('fails where the provider refuses, and says what that said without the key', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'tts', { ...speechServer(), api_key: 'a-key-that-is-wrong' })
    const voice = await readyClone(world)
    expect(voice).toMatchObject({
      ...{ status: 'failed', provider_voice_id: null },
      error: 'The provider elevenlabs answered 401: Invalid API key: ********',
    })
    expect((await server.voices()).length).toBe(1)
  })

  it('is deleted there too, however long that is away', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'tts')
    const voice = await readyClone(world)
    await server.fail({ at: 'DELETE /v1/voices', status: 503, times: 4 })
    expect((await remove(world, voice.id)).status).toBe(204)
    expect((await removalJob(world)).result).toEqual({ removed: true })
    expect((await server.voices()).length).toBe(1)
  })

  it('is deleted there where it was deleted here while it was made', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'tts')
    await server.fail({ at: 'POST /v1/voices/add', ms: 1_500, done: true })
    const { data } = await clone(world)
    await eventually(async () => (await server.asked()).some(({ at }) => at === 'POST /v1/voices/add'))
    expect((await remove(world, data.id)).status).toBe(204)
    const job = await endedJob(world, data.job_id ?? '')
    expect(job.result).toEqual({ status: 'deleted' })
    expect((await server.voices()).length).toBe(1)
  })

  it('goes with its tenant from the operator’s account, and nobody else’s does', async () => {
    const [world, other, server] = [await makeWorld(), await makeWorld(), speechServer()]
    const cloneOf = (tenant: string, voice_id: string) => ({
      ...{ voice_id, name: 'x', category: 'cloned' },
      labels: { causeway_tenant: tenant, causeway_voice: crypto.randomUUID() },
    })
    const mine = ['a', 'b', 'c', 'd', 'e'].map((id) => cloneOf(world.tenant.id, id))
    await server.have([...mine, cloneOf(other.tenant.id, 'f')])
    const keeping = tenantKeepings().find(({ name }) => name === 'voice_clones')
    const bindings = { ...env, ...operatedBy(server) } as unknown as Bindings
    const ctx = { ...world.ctx, env: bindings, settings: settingsOf(bindings) }
    expect(await keeping?.keys(ctx, '', 20)).toEqual(['clones'])
    expect(await keeping?.keys(ctx, 'clones', 20)).toEqual([])
    await keeping?.erase(bindings, world.tenant.id, 'clones')
    expect((await server.voices()).map(({ voice_id }) => voice_id)).toEqual(['f'])
    // Without such an account there is nothing to ask for.
    expect(await keeping?.keys(world.ctx, '', 20)).toEqual([])
  })

  it('takes no more of the operator’s places than a tenant may', async () => {
    const world = await makeWorld()
    const now = new Date().toISOString()
    await env.DB.batch(
      Array.from({ length: 50 }, () =>
        env.DB.prepare(
          `insert into voices (tenant_id, id, name, kind, provider, own, status, file_ids, created_at, updated_at)
           values (?, ?, 'x', 'clone', 'simulated', 0, 'ready', '[]', ?, ?)`,
        ).bind(world.tenant.id, crypto.randomUUID(), now, now),
      ),
    )
    expect(await clone(world)).toMatchObject({ status: 409, error: { code: 'conflict' } })
    await ownAccount(world, 'tts')
    expect((await clone(world)).status).toBe(201)
  })

  it('is given up by a job that meets what it does not know, at last', async () => {
    const world = await makeWorld()
    const { data } = await clone(world)
    await endedJob(world, data.job_id ?? '')
    const kind = kindOf('voices.clone')
    const input = { voice_id: data.id, provider: 'simulated', own: false }
    const broken = {
      ...world.ctx,
      env: { ...world.ctx.env, FILES: { get: () => Promise.reject(new Error('no storage')) } },
    } as unknown as typeof world.ctx
    const due = { id: crypto.randomUUID(), input, state: { asked: true, tries: 0 } }
    await expect(kind?.step(broken, { ...due, failures: 0 })).rejects.toThrow('no storage')
    const last = await kind?.step(broken, { ...due, failures: 5 })
    expect(last).toMatchObject({ done: true, result: { status: 'failed' } })
  })
})

describe('an external voice', { timeout: 60_000 }, () => {
  const external = (provider: string, provider_voice_id: string) => ({
    ...{ name: 'George', kind: 'external', provider, provider_voice_id },
  })

  it('is one that the provider has', async () => {
    const world = await makeWorld()
    const made = await make(world, external('simulated', 'ava'))
    expect([made.status, made.data]).toMatchObject([201, { status: 'ready', job_id: null, file_ids: [] }])
    expect((await preview(world, made.data.id)).status).toBe(200)
    const unknown = await make(world, external('simulated', 'nobody'))
    expect(unknown.error.details.fields).toEqual({ provider_voice_id: 'must be a voice that simulated has' })
    const elsewhere = await make(world, external('elevenlabs', 'JBFqnCBsd6RMkjVDRZzb'))
    expect(elsewhere.error.details.fields?.provider).toContain('must be simulated')
    expect((await make(world, external('ultravox', crypto.randomUUID()))).error).toMatchObject({
      code: 'provider_not_configured',
      details: { kind: 'ultravox' },
    })
    for (const language of ['de CH', 'de_CH', ''])
      expect((await make(world, { ...external('simulated', 'ava'), language })).error.details.fields).toEqual(
        {
          language: 'must be a language tag, such as en or de-CH',
        },
      )
    expect((await make(world, { name: 'x', kind: 'mine' })).error.details.fields).toEqual({
      kind: 'must be clone or external',
    })
  })

  it('is looked for at ElevenLabs, which may fail', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'tts')
    const george = external('elevenlabs', 'JBFqnCBsd6RMkjVDRZzb')
    await server.fail({ at: 'GET /v1/voices', status: 503 })
    expect((await make(world, george)).status).toBe(201)
    expect((await make(world, external('elevenlabs', 'nobody'))).status).toBe(422)
    await server.fail({ at: 'GET /v1/voices', status: 500, times: 9 })
    const failed = await make(world, george)
    expect([failed.status, failed.error]).toMatchObject([
      502,
      { code: 'provider_failed', details: { provider: 'elevenlabs', status: 500 } },
    ])
  })

  it('is everybody’s where the account is the operator’s: clones of others are not to be had', async () => {
    const [world, server] = [await makeWorld(), speechServer()]
    const service = serviceWith(operatedBy(server))
    const ask = async (body: object) => {
      const answer = await service('POST', `http://localhost:8787${PATH}`, {
        ...{ token: world.developer.token, headers: { 'Content-Type': 'application/json' } },
        body: JSON.stringify(body),
      })
      return [answer.status, ((await answer.json()) as { error?: { details: unknown } }).error?.details]
    }
    const labels = { causeway_tenant: crypto.randomUUID() }
    await server.have([
      { voice_id: 'premade', name: 'x', category: 'premade', labels: {} },
      { voice_id: 'cloned', name: 'x', category: 'cloned', labels: {} },
      { voice_id: 'labelled', name: 'x', category: 'professional', labels },
      { voice_id: 'operators', name: 'x', category: 'professional', labels: {}, is_owner: true },
    ])
    expect((await ask(external('elevenlabs', 'premade')))[0]).toBe(201)
    const refusal = { fields: { provider_voice_id: expect.stringContaining('everybody’s') } }
    expect(await ask(external('elevenlabs', 'cloned'))).toEqual([422, refusal])
    expect(await ask(external('elevenlabs', 'labelled'))).toEqual([422, refusal])
    expect(await ask(external('elevenlabs', 'operators'))).toEqual([422, refusal])
    expect((await ask(external('ultravox', '0b54ab58-8a2f-4d5b-8b5b-0c0f0a0b0c0d')))[0]).toBe(201)
    expect(await ask(external('ultravox', '1b54ab58-8a2f-4d5b-8b5b-0c0f0a0b0c0d'))).toEqual([422, refusal])
    const own = await makeWorld()
    await ownAccount(own, 'tts', server)
    expect((await make(own, external('elevenlabs', 'cloned'))).status).toBe(201)
  })

  it('of Ultravox is heard where its sample is, and the key stays here', async () => {
    const world = await makeWorld()
    const server = await ownAccount(world, 'ultravox')
    for (const id of ['0b54ab58-8a2f-4d5b-8b5b-0c0f0a0b0c0d', '1b54ab58-8a2f-4d5b-8b5b-0c0f0a0b0c0d']) {
      const { data } = await make(world, external('ultravox', id))
      const heard = await preview(world, data.id)
      expect([heard.status, heard.headers.get('Content-Type')]).toEqual([200, 'audio/wav'])
    }
    const elsewhere = (await server.asked()).filter(({ path }) => path.startsWith('/samples/'))
    expect(elsewhere.map(({ headers }) => headers['x-api-key'])).toEqual([undefined])
    expect((await make(world, external('ultravox', crypto.randomUUID()))).status).toBe(422)
    expect((await make(world, external('ultravox', 'Mark'))).status).toBe(422)
  })

  it('is of its own account, whatever is set up later', async () => {
    const world = await makeWorld()
    const { data: theirs } = await make(world, external('simulated', 'ben'))
    const server = await ownAccount(world, 'tts')
    const { data: own } = await make(world, external('elevenlabs', 'JBFqnCBsd6RMkjVDRZzb'))
    expect((await preview(world, theirs.id)).headers.get('Content-Type')).toBe('audio/wav')
    await callJson('PATCH', '/api/v1/auth/providers/tts', {
      token: world.admin.token,
      body: { api_key: null },
    })
    const { details } = await expectError(preview(world, own.id), 'provider_not_configured')
    expect(details).toEqual({ kind: 'tts', provider: 'elevenlabs' })
    await ownAccount(world, 'tts', server)
    await server.fail({ at: 'POST /v1/text-to-speech', text: '<html>' })
    await expectError(preview(world, own.id), 'provider_failed')
    expect((await preview(world, own.id)).status).toBe(200)
  })
})
