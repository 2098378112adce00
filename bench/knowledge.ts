import path from 'node:path'
import type { Miniflare } from 'miniflare'
import { bundle, quietWorkerd } from './bundle.ts'
import { uploaded } from './items.ts'
import { fire } from './load.ts'
import { percentiles } from './rounds.ts'
import { ORIGIN, portOf, startService } from './runtime.ts'
import { ask, by, seed } from './seed.ts'

// npm run bench -- --only=knowledge: how fast a knowledge base of 10,000 chunks is taken in, and how fast questions of
// many words find what fits them best, alone and many at once.

const CHUNKS = 10_000
const OF_FILE = 1_000
const WORDS_OF_CHUNK = 120
const WORDS = 20_000
const QUESTIONS = 20
const WORDS_OF_QUESTION = 12
const CONNECTIONS = [1, 16]

type Speed = { connections: number; perSecond: number; p50: number; p95: number; p99: number }
export type KnowledgeRun = { chunks: number; seconds: number; found: number; asked: number; speeds: Speed[] }

export async function measureKnowledge(directory: string, milliseconds: number): Promise<KnowledgeRun> {
  const { file: service } = bundle(null, path.join(directory, 'service'))
  process.env.MINIFLARE_WORKERD_PATH = quietWorkerd(directory)
  const miniflare = await startService(path.join(directory, 'knowledge'), service)
  try {
    const { token } = await seed(miniflare)
    const texts = paragraphs()
    const began = performance.now()
    const base = await takenIn(miniflare, token, texts)
    const seconds = (performance.now() - began) / 1_000
    const questions = Array.from({ length: QUESTIONS }, (_, n) => {
      const at = (n * 7919) % CHUNKS
      return { at, query: questionOf(texts[at] ?? '') }
    })
    let found = 0
    for (const { at, query } of questions) {
      const url = `/api/v1/kb/${base}/search`
      const { data } = await ask(miniflare, 'POST', url, { headers: by(token), body: { query, limit: 5 } })
      const results = data.results as { filename: string; position: number }[]
      found += Number(
        results.some(
          ({ filename, position }) =>
            filename === nameOf(Math.floor(at / OF_FILE)) && position === at % OF_FILE,
        ),
      )
    }
    const port = await portOf(miniflare, 'service')
    const speeds: Speed[] = []
    for (const connections of CONNECTIONS)
      speeds.push({
        connections,
        ...(await speedOf(port, token, base, questions, connections, milliseconds)),
      })
    return { chunks: CHUNKS, seconds, found, asked: questions.length, speeds }
  } finally {
    await miniflare.dispose()
  }
}

const nameOf = (file: number) => `part-${file}.md`

/** Paragraphs whose words are as common as those of a language (Zipf); the same each time. */
function paragraphs(): string[] {
  let state = 42
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const word = () => `w${Math.floor(WORDS ** next()).toString(36)}`
  return Array.from({ length: CHUNKS }, () => Array.from({ length: WORDS_OF_CHUNK }, word).join(' '))
}

/** Words from all over a paragraph, common ones among them, as people ask. */
const questionOf = (text: string): string =>
  text
    .split(' ')
    .filter((_, i) => i % Math.floor(WORDS_OF_CHUNK / WORDS_OF_QUESTION) === 0)
    .join(' ')

async function takenIn(miniflare: Miniflare, token: string, texts: readonly string[]): Promise<string> {
  const headers = by(token)
  const { data: base } = await ask(miniflare, 'POST', '/api/v1/kb', { headers, body: { name: 'Bench' } })
  const file_ids: string[] = []
  for (let file = 0; file * OF_FILE < texts.length; file++) {
    const some = texts.slice(file * OF_FILE, (file + 1) * OF_FILE)
    // Each under a heading of its own, so that it is a chunk of its own.
    const text = some.map((paragraph, i) => `# Section ${file} ${i}\n\n${paragraph}\n`).join('\n')
    const named = { filename: nameOf(file), content_type: 'text/markdown', purpose: 'knowledge' }
    file_ids.push(await uploaded(miniflare, token, text, named))
  }
  const { data } = await ask(miniflare, 'POST', `/api/v1/kb/${base.id}/files/ingest`, {
    headers,
    body: { file_ids },
  })
  for (;;) {
    const job = await ask(miniflare, 'GET', `/api/v1/jobs/${data.id}`, { headers })
    const { status, result } = job.data as { status: string; result: { chunks: number } }
    if (status === 'completed' && result.chunks === texts.length) return String(base.id)
    if (status !== 'queued' && status !== 'running') throw new Error(`the ingest is ${status}: ${job.text}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function speedOf(
  port: number,
  token: string,
  base: string,
  questions: readonly { query: string }[],
  connections: number,
  milliseconds: number,
): Promise<Omit<Speed, 'connections'>> {
  const all: number[] = []
  let [answers, seconds] = [0, 0]
  const headers = { ...by(token), 'Content-Type': 'application/json' }
  for (const [turn, { query }] of [{ query: 'warm up' }, ...questions].entries()) {
    const body = JSON.stringify({ query, limit: 5 })
    const url = `${ORIGIN}/api/v1/kb/${base}/search`
    const shot = { port, headers, method: 'POST', url, body, status: 200 }
    const result = await fire({ shot, connections, milliseconds })
    if (result.refused !== null) throw new Error(`a search answers:\n${result.refused}`)
    if (turn === 0) continue
    all.push(...result.latencies)
    answers += result.answers
    seconds += result.seconds
  }
  return { perSecond: answers / seconds, ...percentiles(all) }
}

/** What is printed of it. */
export function knowledgeLines({ chunks, seconds, found, asked, speeds }: KnowledgeRun): string {
  const lines = speeds.map(
    ({ connections, perSecond, p50, p95, p99 }) =>
      `${connections} connection${connections === 1 ? '' : 's'}: ${Math.round(perSecond)} a second, p50 ${p50.toFixed(1)}, p95 ${p95.toFixed(1)}${connections === 1 ? ' (aim: < 50)' : ''}, p99 ${p99.toFixed(1)} ms`,
  )
  return `Knowledge (${chunks.toLocaleString('en')} chunks of ${WORDS_OF_CHUNK} words, questions of ${WORDS_OF_QUESTION})

taken in: ${Math.round(chunks / seconds).toLocaleString('en')} chunks a second
${lines.join('\n')}
the chunk that was asked for is among the first five: ${found} of ${asked}`
}
