import { and, asc, desc, eq, gt, gte, inArray, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { decodeCursor, encodeCursor, type Position } from '../../../lib/cursor'
import { firstIdAt } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { dataText, wireBody } from '../../events/payload'
import { type EventRow, events } from '../../events/table'
import { existing } from '../endpoints/service'
import { OF_ENDPOINTS, whyNot } from '../endpoints/subscription'
import type { EndpointRow } from '../endpoints/table'
import type { PollEvents, Polled } from './schema'

/** Events that one poll looks at, however many there are, and that are read with their payloads at once. */
const LOOKED_AT = 100
const TOGETHER = 20
/** An answer ends with the event that makes it this large. */
const MOST_CHARACTERS = 1024 * 1024
/** Ids are made before the commit: where to begin is looked for so much earlier. */
const EARLIER_MS = 60_000

/**
 * The endpoint's events after a cursor, in the order of their commit, so that none is stepped over that was committed
 * late; chosen and printed as for the endpoint's attempts, whatever its status. It writes nothing: the client keeps the
 * cursor.
 */
export async function poll(ctx: Context, id: string, input: PollEvents): Promise<Polled> {
  const { limit, cursor, since } = input
  if (cursor !== undefined && since !== undefined)
    throw problem.invalid({ since: 'goes without a cursor, which says where to go on' })
  const endpoint = await existing(ctx, id)
  const list = `poll:${ctx.tenant.id}:${id}`
  const from =
    cursor === undefined ? await start(ctx, since ?? endpoint.created_at) : decodeCursor(list, cursor)
  const looked = await lookAt(ctx, from)
  const candidates = looked.filter(
    (row) => row.id >= from.id && whyNot({ ...endpoint, filter: null }, row) === null,
  )
  const found: Polled['events'] = []
  let characters = 0
  let last: number | null = null
  for (let at = 0; at < candidates.length && last === null; at += TOGETHER) {
    const rows = await readPayloads(ctx, candidates.slice(at, at + TOGETHER))
    for (const row of rows) {
      const text = await dataText(ctx.env, row)
      if (whyNot(endpoint, { ...row, data: text }) !== null) continue
      found.push(shown(row, text, endpoint))
      characters += text?.length ?? 0
      if (found.length < limit && characters < MOST_CHARACTERS) continue
      last = row.seq
      break
    }
  }
  const end = last ?? looked.at(-1)?.seq ?? Number(from.key)
  return {
    events: found,
    cursor: encodeCursor(list, { key: end, id: from.id }),
    done: looked.length < LOOKED_AT && end === (looked.at(-1)?.seq ?? end),
  }
}

/** Where events that were accepted from `since` on begin: after a number, and with the first id that counts. */
async function start(ctx: Context, since: string): Promise<Position> {
  const idAt = (ms: number) => `msg_${firstIdAt(ms)}`
  // Before the others: what is committed meanwhile is among those, or comes after this.
  const newest = await ctx.db
    .select({ seq: events.seq })
    .from(events)
    .where(eq(events.tenant_id, ctx.tenant.id))
    .orderBy(desc(events.seq))
    .limit(1)
  const first = await ctx.db
    .select({ seq: events.seq })
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), gte(events.id, idAt(Date.parse(since) - EARLIER_MS))))
    .orderBy(asc(events.id))
    .limit(TOGETHER)
  const after = first.length > 0 ? Math.min(...first.map(({ seq }) => seq)) - 1 : (newest[0]?.seq ?? 0)
  return { key: after, id: idAt(Date.parse(since)) }
}

/** What decides about the next events, without the payloads of those where these do not. */
function lookAt(ctx: Context, { key }: Position) {
  const decides = sql.raw(`('${OF_ENDPOINTS.join("', '")}')`)
  return ctx.db
    .select({
      seq: events.seq,
      id: events.id,
      type: events.type,
      application_id: events.application_id,
      channels: events.channels,
      data: sql<string | null>`case when ${events.type} in ${decides} then ${events.data} end`.as('data'),
    })
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), gt(events.seq, Number(key))))
    .orderBy(asc(events.seq))
    .limit(LOOKED_AT)
}

async function readPayloads(ctx: Context, some: readonly { id: string }[]): Promise<EventRow[]> {
  const ids = JSON.stringify(some.map(({ id }) => id))
  const rows = await ctx.db
    .select()
    .from(events)
    .where(
      and(
        eq(events.tenant_id, ctx.tenant.id),
        inArray(events.id, sql`(select value from json_each(${ids}))`),
      ),
    )
  return rows.sort((a, b) => a.seq - b.seq)
}

function shown(row: EventRow, text: string | null, { payload }: EndpointRow): Polled['events'][number] {
  const { id, type, timestamp, channels, subject } = row
  const body = wireBody({ ...row, data: text ?? 'null' }, payload)
  return { id, type, timestamp, channels, subject, payload: JSON.parse(body) }
}
