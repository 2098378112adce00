import type { Miniflare } from 'miniflare'
import type { Outcome } from '../test/metering/accuracy.ts'
import { ORIGIN } from './runtime.ts'
import { ask, by, LOGIN } from './seed.ts'

const REQUESTS = 1_500
const RUNS = 3

/** What a tenant of the smallest plan was let pass of so many requests at once. */
export type Burst = { admitted: number; refused: number }

/** Three tenants, each sending 1,500 requests on 16 connections where 1,000 a minute are allowed. */
export async function measureBursts(miniflare: Miniflare, connections: number): Promise<Burst[]> {
  const bursts: Burst[] = []
  for (let i = 0; i < RUNS; i++) {
    const login = { email: `burst-${i}@example.com`, password: LOGIN.password }
    const company = { name: 'Burst', slug: `burst-${i}`, full_name: 'Ada Lovelace', ...login }
    await ask(miniflare, 'POST', '/api/v1/tenants/onboarding/public', { body: company })
    const { data } = await ask(miniflare, 'POST', '/api/v1/auth/login', { body: login })
    bursts.push(await burst(miniflare, by(String(data.access_token)), connections))
  }
  return bursts
}

async function burst(
  miniflare: Miniflare,
  headers: Record<string, string>,
  connections: number,
): Promise<Burst> {
  const seen: Burst = { admitted: 0, refused: 0 }
  let sent = 0
  const send = async () => {
    while (sent++ < REQUESTS) {
      const answer = await miniflare.dispatchFetch(`${ORIGIN}/api/v1/webhooks/event-types?built_in=true`, {
        headers,
      })
      await answer.arrayBuffer()
      if (answer.status === 200) seen.admitted += 1
      else if (answer.status === 429) seen.refused += 1
      else throw new Error(`a burst was answered ${answer.status}`)
    }
  }
  await Promise.all(Array.from({ length: connections }, send))
  return seen
}

/** One line of the grid: the worst over all loads. */
export type Accuracy = {
  isolates: number
  limit: number
  what: string
  most: number
  part: number
  calls: number
}

const LOADS = [0.9, 1, 1.1, 1.25, 1.5, 2]

/** Nine numbers of isolates at six loads, a restart of the Meter, and a limit of 60,000, in simulated time. */
export async function measureAccuracy(simulator: (query: string) => Promise<Outcome>): Promise<Accuracy[]> {
  const lines: Accuracy[] = []
  const line = async (what: string, isolates: number, limit: number, minutes: number, restart: boolean) => {
    const outcomes: Outcome[] = []
    for (const load of LOADS)
      outcomes.push(
        await simulator(
          new URLSearchParams({
            isolates: `${isolates}`,
            limit: `${limit}`,
            load: `${load}`,
            minutes: `${minutes}`,
            restart: `${restart}`,
          }).toString(),
        ),
      )
    const of = (name: keyof Outcome) => outcomes.map((outcome) => outcome[name])
    lines.push({
      isolates,
      limit,
      what,
      most: Math.max(...of('most')),
      part: Math.min(...of('part')),
      calls: Math.max(...of('calls')),
    })
  }
  for (let isolates = 1; isolates <= 9; isolates++) await line('', isolates, 1_000, 4, false)
  for (const isolates of [1, 9]) await line('the Meter restarts', isolates, 1_000, 5, true)
  await line('', 9, 60_000, 2, false)
  return lines
}

/** What is not as limits.md wants it, in words. */
export function missed(bursts: readonly Burst[], accuracy: readonly Accuracy[]): string[] {
  const inexact = bursts.filter(({ admitted, refused }) => admitted !== 1_000 || refused !== REQUESTS - 1_000)
  const wide = accuracy.filter(({ most, part }) => most > 1 || part < 0.98)
  return [
    ...inexact.map(({ admitted, refused }) => `a burst had ${admitted} admitted and ${refused} refused`),
    ...wide.map(({ isolates, limit }) => `${isolates} isolates do not come within 2 % of ${limit} a minute`),
  ]
}
