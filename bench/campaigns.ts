import type { Miniflare } from 'miniflare'
import { ask, by, type Seeded } from './seed.ts'

/** How long an import of contacts takes, and how many calls a minute a campaign places by its cap. */
export type CampaignRun = { contacts: number; imported: number; cap: number; placed: number[] }

/** The largest that one request takes. */
const CONTACTS = 10_000
const CAP = 600

const number = (n: number) => `+1415${String(5_000_000 + n * 7).padStart(7, '0')}`

/**
 * Imports contacts into a campaign, and has another one run for `minutes`: its calls are counted by the minutes since the
 * first. None of them is waited for.
 */
export async function measureCampaign(
  miniflare: Miniflare,
  { token }: Seeded,
  minutes: number,
): Promise<CampaignRun> {
  const send = (path: string, body: unknown, more = {}) =>
    ask(miniflare, 'POST', `/api/v1${path}`, { headers: { ...by(token), ...more }, body })
  const agent = await send('/agents', { name: 'Bench', kind: 'echo' })
  const made = async () =>
    String((await send('/campaigns', { name: 'Bench', agent_id: agent.data.id })).data.id)
  const contacts = Array.from({ length: CONTACTS }, (_, n) => ({ phone: number(n), name: `Contact ${n}` }))
  const id = await made()
  const began = performance.now()
  await send(`/campaigns/${id}/contacts`, { contacts })
  const imported = (performance.now() - began) / 1_000
  await send(`/campaigns/${id}/schedule`, {
    ...{ start_at: new Date().toISOString(), timezone: 'UTC', calls_per_minute: CAP },
    calling_hours: { from: '00:00', to: '24:00' },
  })
  await new Promise((resolve) => setTimeout(resolve, minutes * 60_000 + 5_000))
  await send(`/campaigns/${id}/cancel`, {})
  const database = await miniflare.getD1Database('DB')
  const { results } = await database
    .prepare(
      `select cast((julianday(created_at) - julianday(min(created_at) over ())) * 1440 as integer) as minute
       from calls where campaign_id = ?`,
    )
    .bind(id)
    .all<{ minute: number }>()
  const placed = Array.from(
    { length: minutes },
    (_, minute) => results.filter((row) => row.minute === minute).length,
  )
  return { contacts: CONTACTS, imported, cap: CAP, placed }
}

/** One line of it. */
export function campaignLine({ contacts, imported, cap, placed }: CampaignRun): string {
  return `campaigns: ${contacts.toLocaleString('en')} contacts imported in ${imported.toFixed(1)} s; by a cap of ${cap} calls a minute, minute by minute: ${placed.join(', ')}`
}
