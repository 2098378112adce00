import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { MAX_AUDIO, MAX_SENT } from '../../src/domains/catalog/recordings/audio'
import { makeStep } from '../../src/domains/jobs/steps'
import { pathOf, presign, put, upload } from '../files/kit'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { endedJob, insertJob } from '../jobs/kit'
import { eventually } from '../webhooks/receiver'
import { call, callJson, type ErrorBody, makeWorld, type World } from '../world'
import { asked, form, HEADS, recording, transcriber } from './recording-kit'

type Interaction = Record<string, unknown> & { id: string; text: string; audio_url: string }
type Answer<T = Interaction> = { data: T; error: ErrorBody }

const PATH = '/api/v1/interactions'
const send = (world: World, body: FormData, headers: Record<string, string> = {}, query = '') =>
  callJson<Interaction>('POST', `${PATH}${query}`, { token: world.member.token, raw: body, headers })
const countOf = (world: World, table: string) =>
  env.DB.prepare(`select count(*) as n from ${table} where tenant_id = ?`)
    .bind(world.tenant.id)
    .first<number>('n')
const listOf = async (world: World) =>
  (await callJson<Interaction[]>('GET', PATH, { token: world.viewer.token })).data

/** The same with other settings than the tests' own. */
function withSettings(settings: Record<string, unknown>) {
  const service = serviceWith(settings)
  return async (world: World, body: FormData | object) => {
    const raw = body instanceof FormData ? body : JSON.stringify(body)
    const headers: Record<string, string> =
      body instanceof FormData ? {} : { 'Content-Type': 'application/json' }
    const answer = await service('POST', `http://localhost:8787${PATH}`, {
      token: world.member.token,
      headers,
      body: raw,
    })
    return { status: answer.status, ...((await answer.json()) as Answer) }
  }
}

describe('a recording', () => {
  it('is kept, transcribed and heard again, by whoever may read interactions', async () => {
    const world = await makeWorld()
    const bytes = recording({ text: ' Where is my parcel? ' })
    const { status, data } = await send(world, form(bytes, { speaker_id: 's', metadata: '{"line":7}' }))
    expect(status).toBe(201)
    expect(data).toMatchObject({
      ...{ type: 'speech', text: 'Where is my parcel?', speaker_id: 's', metadata: { line: 7 } },
      audio_url: `http://localhost:8787${PATH}/${data.id}/audio`,
    })
    const heard = await call('GET', `${PATH}/${data.id}/audio`, { token: world.viewer.token })
    expect([heard.status, heard.headers.get('Content-Type')]).toEqual([200, 'audio/wav'])
    expect(heard.headers.get('Content-Disposition')).toMatch(/^inline; filename="recording.wav"/)
    expect(new Uint8Array(await heard.arrayBuffer())).toEqual(bytes)
    const part = await call('GET', `${PATH}/${data.id}/audio`, {
      token: world.viewer.token,
      headers: { Range: 'bytes=0-3' },
    })
    expect([part.status, await part.text()]).toEqual([206, 'RIFF'])
    await expectError(
      call('GET', `${PATH}/${data.id}/audio`, { token: (await makeWorld()).admin.token }),
      'not_found',
    )
    const event = await env.DB.prepare(
      "select data from events where tenant_id = ? and type = 'interaction.created'",
    )
      .bind(world.tenant.id)
      .first<string>('data')
    expect(JSON.parse(event ?? '')).toMatchObject({ text: data.text, audio_url: data.audio_url })
    expect(await storedBytes(world)).toBe(bytes.byteLength)
  })

  it('is what its bytes are, whatever it is called', async () => {
    const world = await makeWorld()
    const types: Record<string, string | null> = {}
    for (const kind of Object.keys(HEADS) as (keyof typeof HEADS)[]) {
      const { data } = await send(world, form(recording({ text: kind }, kind)))
      const heard = await call('GET', `${PATH}/${data.id}/audio`, { token: world.viewer.token })
      await heard.body?.cancel()
      types[kind] = heard.headers.get('Content-Type')
    }
    expect(types).toEqual({
      ...{ wav: 'audio/wav', mp3: 'audio/mpeg', id3: 'audio/mpeg', ogg: 'audio/ogg' },
      ...{ webm: 'audio/webm', flac: 'audio/flac', m4a: 'audio/mp4' },
    })
  })

  it('that is none is refused, and nothing of it kept', async () => {
    const world = await makeWorld()
    const text = (of: string) => new Uint8Array(new TextEncoder().encode(of))
    const png = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
    const avi = new Uint8Array([...text('RIFF'), 0, 0, 0, 0, ...text('AVI ')])
    // UTF-16 begins with a byte order mark that is nearly a frame of MP3.
    for (const bytes of [
      text('hello'),
      text(''),
      png,
      avi,
      new Uint8Array([0xff, 0xfe, 0x41, 0]),
      text('RIF'),
    ]) {
      const { status, error } = await send(world, form(bytes))
      expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, ['audio']])
    }
    const unheard = await send(world, form(recording({ status: 400 })))
    expect([unheard.status, unheard.error.details.fields]).toEqual([
      422,
      { audio: 'could not be transcribed: no such luck' },
    ])
    for (const table of ['interactions', 'files', 'speakers', 'conversations', 'jobs'])
      expect([table, await countOf(world, table)]).toEqual([table, 0])
  })

  it('of 5 MiB is taken as a form, and one of a byte more is not', async () => {
    const world = await makeWorld()
    const fits = await send(world, form(recording({ text: 'long' }, 'wav', MAX_SENT), { text: 'known' }))
    expect([fits.status, fits.data.text]).toEqual([201, 'known'])
    const over = await send(world, form(recording(null, 'wav', MAX_SENT + 1)))
    expect([over.status, over.error.code, over.error.details.limit_bytes]).toEqual([
      413,
      'body_too_large',
      MAX_SENT,
    ])
    expect(over.error.message).toContain('presign')
  })

  it('names every field that is wrong', async () => {
    const world = await makeWorld()
    const fields = async (body: FormData) =>
      Object.keys((await send(world, body)).error.details.fields ?? {}).sort()
    const bytes = recording({ text: 'x' })
    expect(await fields(form(bytes, { metadata: '{', speaker_id: 'x' }))).toEqual(['metadata'])
    expect(await fields(form(bytes, { metadata: '{"n":1e999}' }))).toEqual(['metadata.n'])
    expect(await fields(form(bytes, { metadata: '[]', color: 'red', occurred_at: 'now' }))).toEqual([
      ...['color', 'metadata', 'occurred_at'],
    ])
    expect(await fields(form(bytes, { type: 'view', user_id: 'u', item_id: 'i' }))).toEqual(['audio'])
    expect(await fields(form(bytes, { file_id: crypto.randomUUID() }))).toEqual(['file_id'])
    const two = form(bytes)
    two.append('audio', new File([bytes], 'b.wav'))
    expect(await fields(two)).toEqual(['audio'])
    const words = new FormData()
    words.set('audio', 'hello')
    expect(await fields(words)).toEqual(['audio'])
    expect(await fields(new FormData())).toEqual(['text'])
    expect(await countOf(world, 'files')).toBe(0)
  })

  it('needs its text where nothing transcribes', async () => {
    const world = await makeWorld()
    const none = withSettings({ TRANSCRIBER: '', TRANSCRIBER_URL: '' })
    const { status, error } = await none(world, form(recording({ text: 'x' })))
    expect(status).toBe(422)
    expect(error.details.fields?.text).toContain('TRANSCRIBER')
    const known = await none(world, form(recording(null), { text: 'Known already' }))
    expect([known.status, known.data.text]).toEqual([201, 'Known already'])
    const simulated = await withSettings({ TRANSCRIBER: 'simulated' })(world, form(recording(null)))
    expect(simulated.data.text).toBe('This is a simulated transcript.')
  })

  it('goes with its interaction, and no sooner than the last of them', async () => {
    const world = await makeWorld()
    const segments = [
      { speaker: 'A', text: 'Hello?', start: 0 },
      { speaker: 'B', text: 'Hi!', start: 2 },
    ]
    await send(world, form(recording({ text: 'Hello? Hi!', segments })))
    const [second, first] = await listOf(world)
    const remove = (id?: string) => call('DELETE', `${PATH}/${id}`, { token: world.member.token })
    expect((await remove(first?.id)).status).toBe(204)
    expect([await countOf(world, 'files'), await countOf(world, 'conversations')]).toEqual([1, 1])
    expect((await call('GET', `${PATH}/${second?.id}/audio`, { token: world.viewer.token })).status).toBe(200)
    expect((await remove(second?.id)).status).toBe(204)
    expect([await countOf(world, 'files'), await countOf(world, 'conversations')]).toEqual([0, 0])
    expect(await storedBytes(world)).toBe(0)
  })

  it('is refused while the service is switched off, beyond the storage, and kept once for its key', async () => {
    const off = await makeWorld({ settings: { service_enabled: false } })
    const body = () => form(recording({ text: 'once' }))
    expect((await send(off, body())).error.code).toBe('service_disabled')
    expect((await send(off, body(), { Prefer: 'respond-async' })).error.code).toBe('service_disabled')
    const full = await makeWorld({ rate_limits: { storage_bytes: 100 } })
    expect((await send(full, form(recording({ text: 'x' }, 'wav', 200)))).error.code).toBe(
      'storage_limit_reached',
    )
    for (const world of [off, full])
      expect([await countOf(world, 'files'), await countOf(world, 'interactions')]).toEqual([0, 0])
    const world = await makeWorld()
    const key = { 'Idempotency-Key': 'k' }
    const [first, again] = [await send(world, body(), key), await send(world, body(), key)]
    expect(again.data).toEqual(first.data)
    const race = await Promise.all([1, 2, 3].map(() => send(world, body(), { 'Idempotency-Key': 'race' })))
    for (const one of race) expect([201, 409]).toContain(one.status)
    expect([await countOf(world, 'interactions'), await countOf(world, 'files')]).toEqual([2, 2])
  })
})

describe('a recording with an idempotency key', () => {
  afterEach(() => void vi.restoreAllMocks())

  /** The same bytes each time: a form makes up other boundaries. */
  async function sender(told: object) {
    const name = crypto.randomUUID()
    const body = new Response(form(recording(told)))
    const type = { 'Content-Type': body.headers.get('Content-Type') ?? '' }
    const bytes = await body.blob()
    const post = async (world: World, key: string, query = '', bindings = {}) => {
      const service = serviceWith({ ...transcriber(name), ...bindings })
      const answer = await service('POST', `http://localhost:8787${PATH}${query}`, {
        ...{ token: world.member.token, body: bytes, headers: { ...type, 'Idempotency-Key': key } },
      })
      const { data, error } = (await answer.json()) as Answer
      return { status: answer.status, replayed: answer.headers.get('Idempotency-Replayed'), data, error }
    }
    return { post, times: async () => (await asked(name)).length }
  }

  it('is heard once by however many ask at once, and none while the service is switched off', async () => {
    const world = await makeWorld()
    const { post, times } = await sender({ text: 'Once.', wait_ms: 300 })
    const answers = await Promise.all([1, 2, 3].map(() => post(world, 'race')))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409, 409])
    const repeat = await post(world, 'race')
    expect([repeat.status, repeat.replayed, repeat.data.text]).toEqual([201, 'true', 'Once.'])
    const off = await makeWorld({ settings: { service_enabled: false } })
    for (const query of ['', '?wait=5'])
      expect((await post(off, `off${query}`, query)).error.code).toBe('service_disabled')
    expect(await times()).toBe(1)
    expect([await countOf(off, 'files'), await countOf(off, 'jobs')]).toEqual([0, 0])
  })

  it('that is refused may be sent again', async () => {
    const world = await makeWorld()
    const { post, times } = await sender({ text: world.tenant.id, status: 503, times: 3 })
    expect((await post(world, 'k')).status).toBe(503)
    const again = await post(world, 'k')
    expect([again.status, again.data.text, again.replayed]).toEqual([201, world.tenant.id, null])
    expect(await times()).toBe(4)
  })

  it('that was waited for is answered again with what came of it', async () => {
    const world = await makeWorld()
    const good = await sender({ text: 'In time.' })
    const first = await good.post(world, 'good', '?wait=20')
    const again = await good.post(world, 'good', '?wait=20')
    expect([first.status, first.replayed]).toEqual([201, null])
    expect([again.status, again.replayed, again.data]).toEqual([201, 'true', first.data])
    const bad = await sender({ status: 400 })
    const [refused, repeat] = [
      await bad.post(world, 'bad', '?wait=20'),
      await bad.post(world, 'bad', '?wait=20'),
    ]
    expect([refused.status, repeat.status, repeat.replayed]).toEqual([422, 422, 'true'])
    expect(repeat.error.message).toBe(refused.error.message)
    expect([await countOf(world, 'jobs'), await countOf(world, 'interactions')]).toEqual([2, 1])
  })

  it('that is waited for is one: all get the first one’s answer, or are told to come again', async () => {
    const world = await makeWorld()
    const { post } = await sender({ text: 'Once.', wait_ms: 2_000 })
    const answers = await Promise.all(Array.from({ length: 25 }, () => post(world, 'many', '?wait=20')))
    const [first, ...others] = answers.filter(({ status, replayed }) => status === 201 && replayed === null)
    expect([first?.data.text, others]).toEqual(['Once.', []])
    const rest = answers.filter((one) => one !== first)
    for (const { status, data, error } of rest)
      if (status === 201) expect(data).toEqual(first?.data)
      else expect([status, error.code]).toEqual([409, 'idempotency_in_progress'])
    expect(rest.some(({ status }) => status === 409)).toBe(true)
    const again = await post(world, 'many', '?wait=20')
    expect([again.status, again.replayed, again.data]).toEqual([201, 'true', first?.data])
    expect([await countOf(world, 'jobs'), await countOf(world, 'interactions')]).toEqual([1, 1])
  })

  it('is answered though what came of it could not be kept, and again with its job', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const world = await makeWorld()
    const { post } = await sender({ text: 'Heard.' })
    const { DB } = env
    const prepare = DB.prepare.bind(DB)
    const forgetful = (sql: string) => {
      if (/^update "idempotency_keys"/.test(sql)) throw new Error('D1_ERROR: Network connection lost.')
      return prepare(sql)
    }
    const session = { prepare: forgetful, batch: DB.batch.bind(DB), getBookmark: () => null }
    const first = await post(world, 'lost', '?wait=20', { DB: { ...session, withSession: () => session } })
    expect([first.status, first.data.text]).toEqual([201, 'Heard.'])
    await env.DB.prepare('update idempotency_keys set awaited_until = ? where tenant_id = ?')
      .bind(new Date(Date.now() - 1).toISOString(), world.tenant.id)
      .run()
    expect((await post(world, 'lost', '?wait=20')).status).toBe(202)
    expect([await countOf(world, 'jobs'), await countOf(world, 'interactions')]).toEqual([1, 1])
  })

  it('is told its job at once where it did not hear that it was taken', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const world = await makeWorld()
    const { post } = await sender({ text: 'Unheard of.' })
    let lost = false
    const batch = async (statements: D1PreparedStatement[]) => {
      const results = await env.DB.batch(statements)
      if (lost || (await countOf(world, 'idempotency_keys')) === 0) return results
      lost = true
      throw new Error('D1_ERROR: Network connection lost.')
    }
    const session = { prepare: env.DB.prepare.bind(env.DB), batch, getBookmark: () => null }
    const first = await post(world, 'deaf', '?wait=20', { DB: { ...session, withSession: () => session } })
    expect([first.status, first.replayed, first.data.kind]).toEqual([202, 'true', 'interactions.transcribe'])
    expect((await post(world, 'deaf', '?wait=20')).status).toBe(202)
    expect(await countOf(world, 'jobs')).toBe(1)
  })

  it('is its job where a crash took away the one that waited', async () => {
    const world = await makeWorld()
    const { post } = await sender({ text: 'After all.', wait_ms: 6_000 })
    const first = post(world, 'cut', '?wait=20')
    const waited = () =>
      env.DB.prepare('select awaited_until from idempotency_keys where tenant_id = ?').bind(world.tenant.id)
    await eventually(async () => (await waited().first()) !== null)
    const meanwhile = await post(world, 'cut', '?wait=20')
    expect([meanwhile.status, meanwhile.error.code]).toEqual([409, 'idempotency_in_progress'])
    // What would stand there when the time of one that is gone is over.
    await env.DB.prepare('update idempotency_keys set awaited_until = ? where tenant_id = ?')
      .bind(new Date(Date.now() - 1).toISOString(), world.tenant.id)
      .run()
    const job = await post(world, 'cut', '?wait=20')
    expect([job.status, job.replayed, job.data]).toMatchObject([
      202,
      'true',
      { kind: 'interactions.transcribe' },
    ])
    expect((await first).status).toBe(201)
    expect([await countOf(world, 'jobs'), await countOf(world, 'interactions')]).toEqual([1, 1])
  })
})

const storedBytes = async (world: World) =>
  (await env.DB.prepare('select bytes from stored_bytes where tenant_id = ?')
    .bind(world.tenant.id)
    .first<number>('bytes')) ?? 0

describe('a recording that was uploaded before', () => {
  const register = (world: World, file_id: string, more: object = {}) =>
    callJson<Interaction>('POST', PATH, { token: world.member.token, body: { file_id, ...more } })
  const said = { filename: 'a.bin', content_type: 'application/octet-stream', purpose: 'audio' }

  it('is transcribed, and is of the type that its bytes are', async () => {
    const world = await makeWorld()
    const file = await upload(world.member, recording({ text: 'presigned' }, 'flac'), said)
    const { status, data } = await register(world, file.id, { speaker_id: 's' })
    expect([status, data.text]).toEqual([201, 'presigned'])
    const heard = await call('GET', `${PATH}/${data.id}/audio`, { token: world.viewer.token })
    await heard.body?.cancel()
    expect(heard.headers.get('Content-Type')).toBe('audio/flac')
  })

  it('must be the caller’s own, there, for that, sound, and not too large', async () => {
    const world = await makeWorld()
    const bytes = recording({ text: 'x' })
    const foreign = await upload(world.admin, bytes, said)
    expect((await register(world, foreign.id)).error.code).toBe('not_found')
    expect((await register(await makeWorld(), foreign.id)).error.code).toBe('not_found')
    const { data: coming } = await presign(world.member, { ...said, size: 10 })
    expect((await register(world, coming.file_id)).error.code).toBe('upload_incomplete')
    const other = await upload(world.member, bytes, { ...said, purpose: 'other' })
    expect((await register(world, other.id)).error.details.fields).toHaveProperty('file_id')
    const words = await upload(world.member, 'no sound at all', said)
    expect((await register(world, words.id)).error.details.fields?.file_id).toContain('none of them')
    const [most, over] = [MAX_AUDIO, MAX_AUDIO + 1]
    const sizes = []
    for (const size of [most, over]) {
      const { data } = await presign(world.member, { ...said, size })
      await put(data.url, recording({ text: 'long' }, 'ogg', size), data.headers)
      await callJson('POST', `/api/v1/files/${data.file_id}/complete`, {
        token: world.member.token,
        body: {},
      })
      const answer = await register(world, data.file_id, { text: 'known' })
      sizes.push([answer.status, answer.error?.details.limit_bytes])
    }
    expect(sizes).toEqual([
      [201, undefined],
      [413, MAX_AUDIO],
    ])
    expect(pathOf(coming.url)).toContain('/files/signed/')
  })
})

describe('the transcriber', () => {
  it('is asked as OpenAI’s protocol has it, with its key', async () => {
    const world = await makeWorld()
    const key = crypto.randomUUID()
    const { TRANSCRIBER_URL: url } = transcriber(key)
    for (const [model, path] of [
      ['', ''],
      ['gpt-4o-transcribe', '/v1'],
      ['gpt-4o-transcribe-diarize', '/v1/audio/transcriptions'],
    ] as const) {
      const settings = { ...transcriber(key), TRANSCRIBER_URL: `${url}${path}`, TRANSCRIBER_KEY: 'sk-1' }
      const ask = withSettings({ ...settings, TRANSCRIBER_MODEL: model })
      expect((await ask(world, form(recording({ text: model }, 'id3')))).status).toBe(201)
    }
    const requests = await asked(key)
    expect(requests.map(({ fields }) => fields)).toEqual([
      { model: 'whisper-1', response_format: 'verbose_json' },
      { model: 'gpt-4o-transcribe', response_format: 'json' },
      { model: 'gpt-4o-transcribe-diarize', response_format: 'diarized_json', chunking_strategy: 'auto' },
    ])
    expect(requests[0]).toMatchObject({ file: { name: 'audio.mp3', type: 'audio/mpeg' }, key: 'Bearer sk-1' })
  })

  it('is asked again while it is busy, not before it says, and no more than thrice', async () => {
    const world = await makeWorld()
    const key = crypto.randomUUID()
    const ask = withSettings(transcriber(key))
    const began = Date.now()
    const again = await ask(world, form(recording({ text: key, status: 429, times: 1, retry_after: '1' })))
    expect([again.status, again.data.text]).toEqual([201, key])
    expect(Date.now() - began).toBeGreaterThanOrEqual(1_000)
    const gone = await ask(world, form(recording({ text: `${key}!`, status: 503 })))
    expect([gone.status, gone.error.code]).toEqual([503, 'service_unavailable'])
    expect(await asked(key)).toHaveLength(5)
    expect(await countOf(world, 'files')).toBe(1)
  })

  it('that refuses the service, answers nonsense or hangs up is its own failure', async () => {
    const world = await makeWorld()
    const key = crypto.randomUUID()
    const ask = withSettings(transcriber(key))
    for (const told of [
      { status: 401 },
      { status: 404 },
      { raw: 'hello' },
      { raw: '{"words":[]}' },
      { reset: true },
    ]) {
      const { status, error } = await ask(world, form(recording({ ...told, text: key })))
      expect([told, status, error.code]).toEqual([told, 502, 'upstream_failed'])
      expect(error.message).not.toContain('no such luck')
    }
    const unset = await withSettings({ TRANSCRIBER: 'openai', TRANSCRIBER_URL: '' })(world, { text: 'x' })
    expect(unset.error.code).toBe('misconfigured')
    const unbound = await withSettings({ TRANSCRIBER: 'workers_ai', AI: undefined })(world, { text: 'x' })
    expect(unbound.error.code).toBe('misconfigured')
  })

  it('is the tenant’s own where it has one, with its key, and no other', async () => {
    const [world, other, key] = [await makeWorld(), await makeWorld(), crypto.randomUUID()]
    const own = (body: object) =>
      callJson('PATCH', '/api/v1/auth/providers/transcriber', { token: world.admin.token, body })
    const base_url = transcriber(key).TRANSCRIBER_URL
    const set = { api_key: 'sk-of-the-tenant-itself', base_url, options: { model: 'whisper-large' } }
    expect((await own(set)).status).toBe(200)
    // The operator transcribes nothing, and need not.
    const ask = withSettings({ TRANSCRIBER: '', TRANSCRIBER_URL: '' })
    expect((await ask(world, form(recording({ text: key })))).data.text).toBe(key)
    expect((await ask(other, form(recording({ text: key })))).error.details.fields?.text).toContain(
      'of your own',
    )
    // By a job as well.
    const later = await callJson<{ id: string }>('POST', PATH, {
      ...{ token: world.member.token, raw: form(recording({ text: `${key} later` })) },
      headers: { Prefer: 'respond-async' },
    })
    expect(later.status).toBe(202)
    expect((await endedJob(world, later.data.id)).status).toBe('completed')
    const requests = await asked(key)
    expect(requests.map(({ fields, key: sent }) => [fields.model, sent])).toEqual(
      Array(2).fill(['whisper-large', 'Bearer sk-of-the-tenant-itself']),
    )
    const echo = { status: 422, text: key, says: 'no sound for sk-of-the-tenant-itself' }
    expect((await ask(world, form(recording(echo)))).error.details.fields?.audio).toContain(
      'no sound for ********',
    )
    const refused = await ask(world, form(recording({ status: 401, text: key })))
    expect([refused.status, refused.error.code]).toEqual([502, 'provider_refused'])
    const denied = withSettings({ TRANSCRIBER: '', TRANSCRIBER_URL: '', ALLOW_PRIVATE_TARGETS: 'false' })
    const { error } = await denied(world, form(recording({ text: key })))
    expect([error.code, error.message]).toEqual(['provider_refused', expect.stringContaining('private')])
    expect(await asked(key)).toHaveLength(4)
    expect((await own({ api_key: null })).status).toBe(200)
    expect((await ask(world, form(recording({ text: key })))).status).toBe(422)
  })

  it('may be Workers AI', async () => {
    const world = await makeWorld()
    const calls: { model: string; input: Record<string, unknown> }[] = []
    const said: (() => Promise<unknown>)[] = [
      async () => ({ text: ' By the edge. ', segments: [{ start: 0, end: 1, text: 'By the edge.' }] }),
      () => Promise.reject(new Error('3040: Capacity temporarily exceeded, please try again.')),
      () => Promise.reject(new Error("5006: Error: oneOf at '/' not met")),
      async () => ({ words: [] }),
    ]
    const AI = {
      run: (model: string, input: Record<string, unknown>) => {
        calls.push({ model, input })
        return said[calls.length - 1]?.() ?? Promise.reject(new Error('no more'))
      },
    }
    const ask = withSettings({ TRANSCRIBER: 'workers_ai', AI })
    const bytes = recording(null)
    const first = await ask(world, form(bytes))
    expect([first.status, first.data.text]).toEqual([201, 'By the edge.'])
    expect(calls[0]?.model).toBe('@cf/openai/whisper-large-v3-turbo')
    expect(atob(String(calls[0]?.input.audio)).slice(0, 4)).toBe('RIFF')
    const codes = []
    for (let n = 0; n < 3; n++) codes.push((await ask(world, form(bytes))).error.code)
    expect(codes).toEqual(['service_unavailable', 'validation_failed', 'upstream_failed'])
  })

  it('that tells speakers apart makes an interaction of each turn, in one conversation', async () => {
    const world = await makeWorld()
    const segments = [
      { speaker: 'A', text: ' Hello, this is Ada.', start: 0.5 },
      { speaker: 'A', text: 'How can I help?', start: 2 },
      { speaker: 'B', text: 'Where is my parcel?', start: 4.25 },
      { speaker: null, text: 'Please.', start: 6 },
      { speaker: 'A', text: '  ', start: 7 },
      { speaker: 'A', text: 'One moment.', start: 8 },
    ]
    const told = recording({ text: 'all of it', segments })
    const occurred_at = '2026-01-31T10:00:00.000Z'
    const { status, data } = await send(world, form(told, { occurred_at }))
    expect([status, data.text]).toEqual([201, 'Hello, this is Ada. How can I help?'])
    const file = String(data.speaker_id).slice(0, 36)
    const held = await callJson<{ interactions: Interaction[] }>(
      'GET',
      `/api/v1/conversations/${data.conversation_id}`,
      {
        token: world.viewer.token,
      },
    )
    expect(
      held.data.interactions.map(({ speaker_id, text, occurred_at: at }) => [speaker_id, text, at]),
    ).toEqual([
      [`${file}:A`, 'Hello, this is Ada. How can I help?', '2026-01-31T10:00:00.500Z'],
      [`${file}:B`, 'Where is my parcel? Please.', '2026-01-31T10:00:04.250Z'],
      [`${file}:A`, 'One moment.', '2026-01-31T10:00:08.000Z'],
    ])
    expect([await countOf(world, 'speakers'), await countOf(world, 'files')]).toEqual([2, 1])
    // Who the caller names said all of it.
    const named = await send(world, form(told, { speaker_id: 'ada' }))
    expect([named.data.text, named.data.speaker_id]).toEqual(['all of it', 'ada'])
  })
})

describe('a transcript', () => {
  it('that nobody could have heard is kept as far as it can be, and answered as it is kept', async () => {
    const world = await makeWorld()
    const occurred_at = '2026-01-31T10:00:00.000Z'
    const segments = [
      { speaker: ' \u0007Ada\n', text: 'half \ud83d', start: 1e300 },
      { speaker: '\u0000', text: 'of Ada too', start: Number.NEGATIVE_INFINITY },
      { speaker: 'b'.repeat(300), text: 'then', start: -5 },
    ]
    const { status, data } = await send(world, form(recording({ text: 'x', segments }), { occurred_at }))
    expect([status, data.text, data.occurred_at]).toEqual([201, 'half \ufffd of Ada too', occurred_at])
    const kept = await callJson<Interaction>('GET', `${PATH}/${data.id}`, { token: world.viewer.token })
    expect(kept.data).toEqual(data)
    const file = String(data.speaker_id).slice(0, 36)
    for (const speaker of [`${file}:Ada`, `${file}:${'b'.repeat(200)}`]) {
      const query = `?speaker_id=${encodeURIComponent(speaker)}`
      const found = await callJson<Interaction[]>('GET', `${PATH}${query}`, { token: world.viewer.token })
      expect(found.data.map((one) => [one.speaker_id, one.occurred_at])).toEqual([[speaker, occurred_at]])
    }
    const whole = await send(world, form(recording({ text: 'a \udc00 b' })))
    expect([whole.status, whole.data.text]).toEqual([201, 'a \ufffd b'])
  })
})

describe('a recording that is transcribed later', () => {
  type Job = { id: string; kind: string; status: string; result: { interaction_id: string } | null }
  const later = async (world: World, told: object, size = 0) => {
    const headers: Record<string, string> = size === 0 ? { Prefer: 'wait=5, Respond-Async; x=1' } : {}
    return callJson<Job>('POST', PATH, {
      token: world.member.token,
      raw: form(recording(told, 'wav', size), { speaker_id: 's', metadata: '{"a":1}' }),
      headers,
    })
  }

  it('is answered with its job, which becomes the interaction once', async () => {
    const world = await makeWorld()
    const began = Date.now()
    const { status, data, headers } = await later(world, { text: 'Later.', wait_ms: 300 })
    expect([status, data.kind, headers.get('Preference-Applied')]).toEqual([
      ...[202, 'interactions.transcribe', 'respond-async'],
    ])
    expect(headers.get('Location')).toBe(`/api/v1/jobs/${data.id}`)
    const job = (await endedJob(world, data.id)) as unknown as Job & { input: object }
    expect([job.status, job.input]).toEqual(['completed', { file_id: expect.any(String) }])
    const [only, ...others] = await listOf(world)
    expect(others).toEqual([])
    expect(only).toMatchObject({ id: job.result?.interaction_id, text: 'Later.', metadata: { a: 1 } })
    // It was said when it came, and not when it was heard.
    expect(Date.parse(String(only?.occurred_at)) - began).toBeLessThan(300)
    const type = "select count(*) as n from events where tenant_id = ? and type = 'interaction.created'"
    expect(await env.DB.prepare(type).bind(world.tenant.id).first<number>('n')).toBe(1)
  })

  it('is any above 1 MiB, and fails with the reason', async () => {
    const world = await makeWorld()
    const { status, data, headers } = await later(world, { status: 415 }, 1024 * 1024 + 1)
    expect([status, headers.get('Preference-Applied')]).toEqual([202, null])
    const job = await endedJob(world, data.id)
    expect([job.status, job.error]).toEqual([
      'failed',
      { code: 'validation_failed', message: 'The recording could not be transcribed: no such luck' },
    ])
    expect(await listOf(world)).toEqual([])
    // The recording is still there for another try.
    expect(await countOf(world, 'files')).toBe(1)
  })

  it('is tried again while the transcriber is away', async () => {
    const world = await makeWorld()
    const { data } = await later(world, { text: world.tenant.id, status: 500, times: 4 })
    const job = await endedJob(world, data.id)
    expect(job.status).toBe('completed')
    expect((await listOf(world)).map(({ text }) => text)).toEqual([world.tenant.id])
  })

  it('becomes one interaction, whoever else hears it at the same time', async () => {
    const world = await makeWorld()
    const file = await upload(world.member, recording({ text: 'Once.', wait_ms: 100 }), {
      ...{ filename: 'a.bin', content_type: 'application/octet-stream', purpose: 'audio' },
    })
    const occurred_at = '2026-01-31T10:00:00.000Z'
    const id = await insertJob(world.tenant.id, {
      kind: 'interactions.transcribe',
      input: { file_id: file.id, occurred_at, window_ms: 0 },
      next_at: new Date().toISOString(),
    })
    await Promise.all([makeStep(world.ctx, id), makeStep(world.ctx, id), makeStep(world.ctx, id)])
    expect((await listOf(world)).map((one) => [one.text, one.occurred_at])).toEqual([['Once.', occurred_at]])
    expect((await endedJob(world, id)).status).toBe('completed')
  })

  it('is waited for by who asks for that, and goes on when the time is over', async () => {
    const world = await makeWorld()
    const body = (told: object) => form(recording(told, 'wav', 2 * 1024 * 1024))
    const heard = await send(world, body({ text: 'In time.', wait_ms: 200 }), {}, '?wait=10')
    expect([heard.status, heard.data.text]).toEqual([201, 'In time.'])
    const key = { 'Idempotency-Key': 'late' }
    const late = await send(world, body({ text: 'Late.', wait_ms: 2_000 }), key, '?wait=1')
    expect([late.status, late.error.code]).toEqual([504, 'upstream_timeout'])
    const jobId = String(late.error.details.job_id)
    const repeat = await send(world, body({ text: 'Late.', wait_ms: 2_000 }), key, '?wait=1')
    expect([repeat.status, repeat.data.id]).toEqual([202, jobId])
    expect((await endedJob(world, jobId)).status).toBe('completed')
    expect((await listOf(world)).map(({ text }) => text)).toEqual(['Late.', 'In time.'])
    const refused = await send(world, body({ status: 400, text: 'x' }), {}, '?wait=10')
    expect([refused.status, refused.error.details.job_id]).toEqual([422, expect.any(String)])
    expect(refused.error.message).toBe('The recording could not be transcribed: no such luck')
  })
})

describe('the legacy path', () => {
  const legacy = (world: World, body: FormData) =>
    call('POST', `/api/v2/${world.tenant.id}/interactions/register`, { token: world.member.token, raw: body })

  it('takes a recording as audio or file, waits for its text, and answers bare', async () => {
    const world = await makeWorld()
    for (const name of ['audio', 'file']) {
      const bytes = recording({ text: `As ${name}.`, wait_ms: 100 }, 'mp3', 1_200_000)
      const answer = await legacy(world, form(bytes, { speaker_id: 's' }, name))
      expect(answer.status).toBe(201)
      expect(await answer.json()).toMatchObject({ type: 'speech', text: `As ${name}.`, speaker_id: 's' })
    }
    const bad = await legacy(world, form(new Uint8Array([1, 2, 3])))
    expect(bad.status).toBe(422)
  })
})
