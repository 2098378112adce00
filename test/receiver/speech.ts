import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { type Answer, type Asked, answer, scripted } from './scripted'

// ElevenLabs' protocol as it is documented (elevenlabs.io/docs/api-reference), and of Ultravox's what is about voices.

type Voice = { voice_id: string; name: string; category: string; labels: Record<string, string> }
type State = { base: string; voices: Voice[]; key: string }

/** What its error for a voice that is not there is. */
const gone = (id: string) => ({
  detail: { status: 'voice_not_found', message: `A voice with the voice_id ${id} was not found.` },
})

/** One frame of MPEG audio, and a moment of silence as WAV. */
export const MP3 = Buffer.from([0xff, 0xfb, 0x90, 0x64, ...Array(60).fill(0)])
const WAV = Buffer.concat([Buffer.from('RIFF\x2c\0\0\0WAVEfmt '), Buffer.alloc(40)])

const premade: Voice = { voice_id: 'JBFqnCBsd6RMkjVDRZzb', name: 'George', category: 'premade', labels: {} }
const PUBLIC = '0b54ab58-8a2f-4d5b-8b5b-0c0f0a0b0c0d'
const PRIVATE = '1b54ab58-8a2f-4d5b-8b5b-0c0f0a0b0c0d'

function elevenlabs(state: State, { method, path, body, query }: Asked): Answer {
  const id = decodeURIComponent(/^\/v1\/(?:voices|text-to-speech)\/([^/]+)$/.exec(path)?.[1] ?? '')
  const voice = state.voices.find(({ voice_id }) => voice_id === id)
  if (`${method} ${path}` === 'POST /v1/voices/add') return added(state, body as Record<string, string[]>)
  if (`${method} ${path}` === 'GET /v2/voices') return listed(state, query)
  if (path.startsWith('/v1/text-to-speech/') && method === 'POST')
    return voice
      ? { status: 200, bytes: MP3, headers: { 'Content-Type': 'audio/mpeg' } }
      : answer(404, gone(id))
  if (method === 'GET' && path.startsWith('/v1/voices/'))
    return voice ? answer(200, voice) : answer(400, gone(id))
  if (method === 'DELETE' && path.startsWith('/v1/voices/')) {
    if (!voice)
      return answer(400, { detail: { status: 'voice_does_not_exist', message: 'It does not exist.' } })
    state.voices = state.voices.filter((one) => one !== voice)
    return answer(200, { status: 'ok' })
  }
  return answer(404, { detail: 'Not Found' })
}

function added(state: State, { name = [], labels = [], files = [] }: Record<string, string[]>): Answer {
  if (name.length !== 1 || files.length === 0)
    return answer(422, { detail: [{ loc: ['body', 'files'], msg: 'Field required', type: 'missing' }] })
  const voice_id = randomUUID().replaceAll('-', '').slice(0, 20)
  state.voices.push({
    ...{ voice_id, name: name[0] ?? '', category: 'cloned' },
    labels: JSON.parse(labels[0] ?? '{}'),
  })
  return answer(200, { voice_id, requires_verification: false })
}

/** Pages of two, so that somebody has to turn one. */
function listed(
  { voices }: State,
  { search = '', next_page_token: from = '0' }: Record<string, string>,
): Answer {
  const found = voices.filter((one) => JSON.stringify(one).includes(search))
  const end = Number(from) + 2
  return answer(200, {
    voices: found.slice(Number(from), end),
    has_more: end < found.length,
    next_page_token: end < found.length ? String(end) : null,
    total_count: found.length,
  })
}

function ultravox(state: State, { path }: Asked): Answer {
  const [, id, preview] = /^\/api\/voices\/([^/]+)(\/preview)?$/.exec(path) ?? []
  if (path === '/samples/george.wav')
    return { status: 200, bytes: WAV, headers: { 'Content-Type': 'audio/wav' } }
  if (id !== PUBLIC && id !== PRIVATE) return answer(404, { detail: 'Not found.' })
  if (!preview)
    return answer(200, { voiceId: id, name: 'Mark', ownership: id === PUBLIC ? 'public' : 'private' })
  if (id === PRIVATE) return { status: 200, bytes: WAV, headers: { 'Content-Type': 'audio/wav' } }
  return { status: 302, headers: { Location: `${state.base}/samples/george.wav` } }
}

/** `/speech/{name}`; the key is `key-of-{name}`. */
export const speech = scripted<State>(
  (base) => ({ base, voices: [premade], key: `key-of-${base.split('/').at(-1)}` }),
  (state, asked) => {
    if (asked.path.startsWith('/samples/')) return ultravox(state, asked)
    if (asked.headers['x-api-key'] !== state.key)
      return answer(401, {
        detail: { status: 'invalid_api_key', message: `Invalid API key: ${asked.headers['x-api-key']}` },
      })
    return asked.path.startsWith('/api/') ? ultravox(state, asked) : elevenlabs(state, asked)
  },
  (state, _path, body) => {
    if (Array.isArray(body)) state.voices = body as Voice[]
    return state.voices
  },
)
