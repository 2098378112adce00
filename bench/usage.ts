import type { Miniflare } from 'miniflare'
import { fire } from './load.ts'
import { ORIGIN } from './runtime.ts'
import { ask, by, type Seeded } from './seed.ts'

/** What was sent, and what the service says was used. */
export type UsageRun = { sent: number; counted: number; errors: number }

const ROUTE = '/api/v1/webhooks/event-types'
type Row = { endpoint: string; requests: number; errors: number }

/** Sends at least so many requests at once on `connections`, and asks right after the last answer what was used. */
export async function countUsage(
  miniflare: Miniflare,
  port: number,
  { token, key }: Seeded,
  { requests, connections }: { requests: number; connections: number },
): Promise<UsageRun> {
  const used = async () => {
    const { data } = await ask(miniflare, 'GET', '/api/v1/usage?group_by=endpoint', { headers: by(token) })
    const rows = data as unknown as Row[]
    return rows.find(({ endpoint }) => endpoint === ROUTE) ?? { requests: 0, errors: 0 }
  }
  const before = await used()
  const shot = {
    port,
    method: 'GET',
    url: `${ORIGIN}${ROUTE}?built_in=true`,
    headers: { 'X-API-Key': key },
    status: 200,
  }
  let sent = 0
  while (sent < requests) {
    const { answers, refused } = await fire({ shot, connections, milliseconds: 1_000 })
    if (refused !== null) throw new Error(`a request was refused: ${refused}`)
    sent += answers
  }
  const after = await used()
  return { sent, counted: after.requests - before.requests, errors: after.errors - before.errors }
}
