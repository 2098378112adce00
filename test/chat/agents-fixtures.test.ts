import { describe, expect, it } from 'vitest'
import { ReplyReader } from '../../src/domains/chat/agents/upstreams/reply'
import { type UpstreamEvent, UpstreamFailure } from '../../src/domains/chat/agents/upstreams/upstream'
import { utf8 } from '../../src/lib/encoding'

// The answers under test/fixtures/agents, read as they are and cut in every place: inside of characters, of escapes, of
// lines. However the network cut an answer, it comes to the same.

const files = import.meta.glob<string>('../fixtures/agents/*.http', {
  query: '?raw',
  import: 'default',
  eager: true,
})

function fixture(name: string): { type: string; body: Uint8Array } {
  const whole = files[`../fixtures/agents/${name}.http`]
  if (whole === undefined) throw new Error(`there is no ${name}.http`)
  const end = whole.indexOf('\n\n')
  const type = /^Content-Type: (.*)$/m.exec(whole.slice(0, end))?.[1] ?? ''
  return { type: type.toLowerCase(), body: utf8(whole.slice(end + 2)) }
}

type Outcome = { text: string; failure: string | null; others: object[] }

/** What an answer comes to that arrives in these pieces, and the text that was said by the end of each. */
function read(pieces: Uint8Array[], type: string): Outcome & { said: string[] } {
  const events: UpstreamEvent[] = []
  const text = () => events.map((event) => (event.kind === 'delta' ? event.text : '')).join('')
  const said: string[] = []
  let failure: string | null = null
  try {
    const reader = new ReplyReader(type)
    for (const piece of pieces) {
      for (const event of reader.push(piece)) events.push(event)
      said.push(text())
      if (reader.done) break
    }
    if (!reader.done) for (const event of reader.end()) events.push(event)
  } catch (error) {
    if (!(error instanceof UpstreamFailure)) throw error
    failure = error.code
  }
  const others = events.filter(({ kind }) => kind !== 'delta')
  return { text: text(), failure, others, said }
}

const tool = (id: string, name: string, value: unknown) => ({
  ...{ kind: 'tool', id, name, status: 'call' },
  arguments: value,
})
const usage = (prompt_tokens: number, completion_tokens: number) => ({
  ...{ kind: 'usage', prompt_tokens },
  completion_tokens,
})
const finish = (reason: string) => ({ kind: 'finish', reason })
const THINKING = { kind: 'status', description: 'Thinking…', level: 'info' }

const EXPECTED: Record<string, Partial<Outcome>> = {
  guide: { text: 'Hi there! 👋 Où ça? 🇫🇷' },
  'guide-crlf': { text: 'Hi €' },
  openai: { text: 'Héllo', others: [finish('stop'), usage(19, 1)] },
  'openai-tools': {
    text: '',
    others: [
      tool('call_A', 'get_weather', { city: 'Zürich' }),
      tool('call_B', 'get_time', {}),
      finish('stop'),
    ],
  },
  'openai-document': { text: 'Héllo 👋', others: [usage(9, 4), finish('length')] },
  'deepseek-reasoning': { text: 'Hi', others: [THINKING, usage(3, 9), finish('stop')] },
  'ai-sdk': {
    text: '7 °C in Zürich 🌥️',
    others: [
      THINKING,
      tool('t1', 'weather', { city: 'Zürich' }),
      { kind: 'tool', id: 't1', name: 'weather', status: 'result', result: { celsius: 7 } },
    ],
  },
  n8n: { text: 'Héllo 👋 – bye' },
  'n8n-object': { text: 'The parcel is in Köln 📦 and safe' },
  'n8n-empty': { failure: 'upstream_empty', text: '' },
  'n8n-error': { failure: 'upstream_error', text: 'Let me se' },
  'n8n-last-node': { text: 'All at once 👋' },
  ollama: { text: 'Héllo 👋', others: [usage(26, 2), finish('stop')] },
  'ollama-tools': {
    text: '',
    others: [tool('call_1', 'get_weather', { city: 'Zürich' }), usage(5, 7), finish('stop')],
  },
  'workers-ai': { text: 'Héllo 👋', others: [usage(21, 2)] },
  'html-midway': { failure: 'upstream_html', text: 'Héllo' },
  'html-midway-lines': { failure: 'upstream_error', text: 'Hé' },
  html: { failure: 'upstream_html', text: '' },
  empty: { failure: 'upstream_empty', text: '' },
  'heartbeats-only': { failure: 'upstream_empty', text: '' },
  'cut-off': { failure: 'upstream_reset', text: 'Hé' },
  plain: { text: 'Héllo 👋\n\nThis is plain: {"not": "json"}\n' },
}

/** Bodies up to this length are cut in every two places, longer ones in every one. */
const SHORT = 120

describe('an answer', () => {
  it('is expected of each file, and a file there for each expectation', () => {
    const names = Object.keys(files).map((path) => path.split('/').at(-1)?.replace('.http', ''))
    expect(names.toSorted()).toEqual(Object.keys(EXPECTED).toSorted())
  })

  it.each(Object.entries(EXPECTED))('%s', (name, expected) => {
    const { type, body } = fixture(name)
    const { said: _, ...whole } = read([body], type)
    expect(whole).toEqual({ failure: null, others: [], ...expected })
    const same = (...cuts: number[]) => {
      const ends = [...cuts, body.length]
      const pieces = ends.map((end, i) => body.subarray(ends[i - 1] ?? 0, end))
      const { said, ...outcome } = read(pieces, type)
      // What was said stays said: nothing is taken back by what comes.
      for (const [i, text] of said.entries())
        expect(outcome.text.startsWith(text), `${cuts}: ${i}`).toBe(true)
      expect(outcome, `cut at ${cuts}`).toEqual(whole)
    }
    for (let first = 1; first < body.length; first += 1) {
      same(first)
      if (body.length <= SHORT) for (let next = first + 1; next < body.length; next += 1) same(first, next)
    }
    same(...Array.from(body.keys()).slice(1))
  })
})
