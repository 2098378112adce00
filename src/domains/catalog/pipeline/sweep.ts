import { sql } from 'drizzle-orm'
import { directory } from '../../../data/database'
import { onGauges } from '../../../data/gauges'
import { reportSoon } from '../../../data/metrics'
import { onClock, onNudge, onSweep } from '../../../data/sweeping'
import { onWaiting } from '../../../data/waiting'
import { type Bindings, settingsOf } from '../../../env'
import { positionOf } from '../../metering/daily/follow'
import { FOLLOWER } from './cut'
import { sendDue } from './send'

type Waits = Pick<ExecutionContext, 'waitUntil'>

/** What is committed within this goes together. */
const GATHER_MS = 500
/** Whoever was to send and has not by then is gone with its invocation. */
const GONE_MS = 30_000
/** A number beyond this says no more. */
const MOST_COUNTED = 10_000

const isOn = (env: Bindings): boolean => settingsOf(env).DATA_PIPELINE_URL !== ''

let sendingSince = Number.NEGATIVE_INFINITY

/** Sends what is due; nothing where no pipeline is set, or this isolate is at it already. */
async function send(env: Bindings, { waitUntil }: Waits): Promise<number> {
  if (!isOn(env) || Math.abs(Date.now() - sendingSince) < GONE_MS) return 0
  sendingSince = Date.now()
  try {
    return Number(await sendDue(env, (work) => waitUntil(work)))
  } finally {
    sendingSince = Number.NEGATIVE_INFINITY
    reportSoon(env, (work) => waitUntil(work))
  }
}

onSweep('pipeline_behind', (env, ctx) => send(env, { waitUntil: (work) => ctx.waitUntil(work) }))

onNudge('pipeline_behind', async (env, _nudges, ctx) => {
  if (!isOn(env)) return
  await scheduler.wait(GATHER_MS)
  await send(env, { waitUntil: (work) => ctx.waitUntil(work) })
})

onClock(async (env) => {
  if (!isOn(env)) return null
  const row = await directory(env).get<{ at: string | null }>(
    sql`select min(next_at) as at from pipeline_batches`,
  )
  return row.at === null ? null : Date.parse(row.at)
})

onGauges(async (env, now) => {
  if (!isOn(env)) return {}
  const row = await directory(env).get<{ waiting: number; refused: number; oldest: string | null }>(sql`
    select
      (select coalesce(sum(size), 0) from (select size from pipeline_batches where refusal is null limit ${MOST_COUNTED}))
        + (select count(*) from (select 1 from interactions where seq > ${positionOf(FOLLOWER)} limit ${MOST_COUNTED}))
        as waiting,
      (select count(*) from (select 1 from pipeline_batches where refusal is not null limit ${MOST_COUNTED})) as refused,
      coalesce(
        (select created_at from interactions where seq >= (select min(first_seq) from pipeline_batches where refusal is null)
          order by seq limit 1),
        (select created_at from interactions where seq > ${positionOf(FOLLOWER)} order by seq limit 1)) as oldest`)
  return {
    pipeline_interactions_waiting: row.waiting,
    pipeline_batches_refused: row.refused,
    pipeline_oldest_seconds: row.oldest === null ? 0 : Math.max(0, now - Date.parse(row.oldest)) / 1_000,
  }
})

onWaiting(async ({ env, db, tenant }) => {
  if (!isOn(env)) return null
  const mine = sql`select size, created_at, refusal from pipeline_batches where tenant_id = ${tenant.id} limit ${MOST_COUNTED}`
  const [row] = await db
    .select({
      waiting: sql<number>`coalesce(sum(size), 0)`.as('waiting'),
      since: sql<string | null>`min(created_at)`.as('since'),
      stuck: sql<number>`coalesce(sum(iif(refusal is null, 0, size)), 0)`.as('stuck'),
    })
    .from(sql`(${mine})`)
  return { name: 'data_pipeline', waiting: 0, since: null, stuck: 0, ...row }
})
