import { readFileSync } from 'node:fs'
import path from 'node:path'
import type { Miniflare } from 'miniflare'
import { bundle, quietWorkerd } from './bundle.ts'
import { fire } from './load.ts'
import { percentiles } from './rounds.ts'
import { ORIGIN, portOf, startService } from './runtime.ts'
import { ask, by, seed } from './seed.ts'

// npm run bench -- --only=recommendations: how fast recommendations are in a tenant with 10,000 items and 100,000
// interactions, and how often what somebody chose next is among the first ten, beside what is popular.

const ITEMS = 10_000
const USERS = 5_000
const ACTS = 20
const GROUPS = 50
/** Of a user's acts, so many are at anything, as popular as it is; the others in the user's two groups. */
const AT_RANDOM = 0.2
/** Users whose last act is looked for. */
const MOST_ASKED = 1_000
const CONNECTIONS = 16
const SHOTS = 20
const DAY_MS = 24 * 3600_000

type Act = { user: string; item: string; at: number; rating?: number }

/** The figures: seconds of counting, latencies in ms, and the share of users whose next item was among ten. */
export type Outcome = {
  set: string
  interactions: number
  countedPerSecond: number
  perSecond: number
  p50: number
  p95: number
  p99: number
  asked: number
  hits: number
  popularityHits: number
}

export async function measureRecommendations(directory: string, milliseconds: number): Promise<Outcome> {
  const file = process.env.RATINGS_FILE
  const acts = (file ? ratingsOf(readFileSync(file, 'utf8')) : generated()).sort((a, b) => a.at - b.at)
  const { known, last } = leaveOneOut(acts)
  const { file: service } = bundle(null, path.join(directory, 'service'))
  process.env.MINIFLARE_WORKERD_PATH = quietWorkerd(directory)
  const miniflare = await startService(path.join(directory, 'recommendations'), service)
  try {
    const { token } = await seed(miniflare)
    await fill(miniflare, known)
    const seconds = await countAll(miniflare)
    const headers = { ...by(token), 'Content-Type': 'application/json' }
    const hits = await hitsOf(miniflare, headers, last, known)
    const port = await portOf(miniflare, 'service')
    const speed = await latencies(port, headers, [...last.keys()].slice(0, SHOTS), milliseconds)
    return {
      set: file
        ? path.basename(file)
        : `generated: ${GROUPS} groups of ${ITEMS / GROUPS} items, two of them to a user`,
      interactions: known.length,
      countedPerSecond: known.length / seconds,
      ...speed,
      ...hits,
    }
  } finally {
    await miniflare.dispose()
  }
}

/** The same each time. */
function random(): () => number {
  let state = 42
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** A number below `n`, the first ones oftener (Zipf). */
function zipf(n: number, exponent: number, next: () => number): () => number {
  const sums: number[] = []
  let sum = 0
  for (let i = 0; i < n; i++) {
    sum += 1 / (i + 1) ** exponent
    sums.push(sum)
  }
  return () => {
    const wanted = next() * sum
    let [low, high] = [0, n - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sums[middle] ?? 0) < wanted) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Users with two groups of items each, of which they like one better, over sixty days. */
function generated(): Act[] {
  const next = random()
  const size = ITEMS / GROUPS
  const [within, anywhere] = [zipf(size, 0.8, next), zipf(ITEMS, 1, next)]
  // What is popular everywhere is spread over the groups.
  const spread = (place: number) => (place * 7919) % ITEMS
  const acts: Act[] = []
  const now = Date.now()
  for (let user = 0; user < USERS; user++) {
    const groups = [Math.floor(next() * GROUPS), Math.floor(next() * GROUPS)]
    const seen = new Set<number>()
    while (seen.size < ACTS + 1) {
      const group = groups[next() < 0.7 ? 0 : 1] ?? 0
      const item = next() < AT_RANDOM ? spread(anywhere()) : group * size + within()
      if (seen.has(item)) continue
      seen.add(item)
      const days = ((ACTS - seen.size + 1) / ACTS) * 60 + next()
      acts.push({ user: `user-${user}`, item: `item-${item}`, at: now - Math.round(days * DAY_MS) })
    }
  }
  return acts
}

/** MovieLens: `user item rating seconds`, by tabs, commas or two colons, with or without a heading. */
function ratingsOf(text: string): Act[] {
  return text.split('\n').flatMap((line) => {
    const [user, item, rating, seconds] = line.trim().split(/::|[\t,]/)
    return user && item && /^\d+$/.test(seconds ?? '')
      ? [{ user, item, at: Number(seconds) * 1_000, rating: Number(rating) }]
      : []
  })
}

/** What is known, and of each user with enough of it the last item, which is to be found. */
function leaveOneOut(acts: readonly Act[]): { known: Act[]; last: Map<string, string> } {
  const own = Map.groupBy(acts, ({ user }) => user)
  const last = new Map<string, Act>()
  for (const [user, all] of own) {
    const end = all.at(-1)
    if (end && all.length >= 5) last.set(user, end)
  }
  const known = acts.filter((act) => last.get(act.user) !== act)
  return { known, last: new Map([...last].map(([user, { item }]) => [user, item])) }
}

/** The catalogue and the interactions, straight into D1. */
async function fill(miniflare: Miniflare, acts: readonly Act[]): Promise<void> {
  const database = await miniflare.getD1Database('DB')
  const tenant = await database.prepare("select id from tenants where slug = 'bench'").first<string>('id')
  const insert = async (sql: string, rows: unknown[]) => {
    for (let from = 0; from < rows.length; from += 2_000)
      await database
        .prepare(sql)
        .bind(tenant, JSON.stringify(rows.slice(from, from + 2_000)))
        .run()
  }
  const names = [
    ...new Set([...Array.from({ length: ITEMS }, (_, i) => `item-${i}`), ...acts.map(({ item }) => item)]),
  ]
  const id = `printf('%08x-0000-7000-8000-%012x', abs(random() % 4294967296), abs(random() % 281474976710656))`
  await insert(
    `insert into items (tenant_id, id, external_id, title, category, tags, attributes, available, digest, version, created_at, updated_at)
    select ?1, ${id}, value, 'The ' || value, 'category-' || (key % 20), '[]', '{}', 1, value, 1, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z' from json_each(?2)`,
    names,
  )
  await insert(
    `insert into interactions (tenant_id, id, type, value, user_id, item_id, metadata, occurred_at, created_at)
    select ?1, value ->> 4, iif(value ->> 3 is null, 'view', 'rating'), value ->> 3, value ->> 0, value ->> 1, '{}', value ->> 2, value ->> 2 from json_each(?2)`,
    acts.map(({ user, item, at, rating }, i) => [
      ...[user, item, new Date(at).toISOString(), rating ?? null],
      inOrder(at, i),
    ]),
  )
}

/** A UUIDv7 of that time, after those made before it: a user's last interactions are found by their ids. */
function inOrder(at: number, i: number): string {
  const [time, place] = [at.toString(16).padStart(12, '0'), i.toString(16).padStart(12, '0')]
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${place}`
}

/** Has the sweep count until all is counted; answers with the seconds that took. */
async function countAll(miniflare: Miniflare): Promise<number> {
  const database = await miniflare.getD1Database('DB')
  const worker = await miniflare.getWorker('service')
  const began = performance.now()
  const left = () =>
    database
      .prepare(
        `select count(*) as n from (select 1 from interactions as i
        where i.item_id is not null and i.seq > coalesce((select max(seq) from interaction_counts), 0) limit 1)`,
      )
      .first<number>('n')
  while (await left()) await worker.scheduled({ cron: '* * * * *' })
  return (performance.now() - began) / 1_000
}

async function hitsOf(
  miniflare: Miniflare,
  headers: Record<string, string>,
  last: ReadonlyMap<string, string>,
  known: readonly Act[],
): Promise<Pick<Outcome, 'asked' | 'hits' | 'popularityHits'>> {
  const own = Map.groupBy(known, ({ user }) => user)
  const counts = Map.groupBy(known, ({ item }) => item)
  const popular = [...counts.keys()].sort(
    (a, b) => (counts.get(b)?.length ?? 0) - (counts.get(a)?.length ?? 0),
  )
  let [asked, hits, popularityHits] = [0, 0, 0]
  const every = Math.max(1, Math.floor(last.size / MOST_ASKED))
  for (const [user, item] of [...last].filter((_, i) => i % every === 0)) {
    asked += 1
    const body = { user_id: user, count: 10 }
    const { data } = await ask(miniflare, 'POST', '/api/v1/recommendations', { headers, body })
    const found = data.recommendations as { item_id: string }[]
    if (found.some(({ item_id }) => item_id === item)) hits += 1
    const seen = new Set((own.get(user) ?? []).map((act) => act.item))
    if (
      popular
        .filter((one) => !seen.has(one))
        .slice(0, 10)
        .includes(item)
    )
      popularityHits += 1
  }
  return { asked, hits, popularityHits }
}

/** Many users by turns, each by all connections at once. */
async function latencies(
  port: number,
  headers: Record<string, string>,
  users: readonly string[],
  milliseconds: number,
): Promise<Pick<Outcome, 'perSecond' | 'p50' | 'p95' | 'p99'>> {
  const all: number[] = []
  let [answers, seconds] = [0, 0]
  for (const [turn, user_id] of ['warm-up', ...users].entries()) {
    const body = JSON.stringify({ user_id, count: 10 })
    const shot = { port, headers, method: 'POST', url: `${ORIGIN}/api/v1/recommendations`, body, status: 200 }
    const result = await fire({ shot, connections: CONNECTIONS, milliseconds })
    if (result.refused !== null) throw new Error(`recommendations answer:\n${result.refused}`)
    if (turn === 0) continue
    all.push(...result.latencies)
    answers += result.answers
    seconds += result.seconds
  }
  return { perSecond: answers / seconds, ...percentiles(all) }
}

/** What is printed of it. */
export function recommendationsLines(outcome: Outcome): string {
  const { set, interactions, countedPerSecond, perSecond, p50, p95, p99, asked, hits, popularityHits } =
    outcome
  const share = (part: number) => `${((part / asked) * 100).toFixed(1)} %`
  return `Recommendations (${set}; ${interactions.toLocaleString('en')} interactions)

counted: ${Math.round(countedPerSecond).toLocaleString('en')} interactions a second
${CONNECTIONS} connections, ten recommendations each: ${Math.round(perSecond)} a second, p50 ${p50.toFixed(1)}, p95 ${p95.toFixed(1)} (aim: < 100), p99 ${p99.toFixed(1)} ms
hit rate at 10, leave-one-out, ${asked} users: ${share(hits)}; what is popular: ${share(popularityHits)}; ${(hits / popularityHits).toFixed(2)} times that (aim: ≥ 2)`
}
