import { type SQL, sql } from 'drizzle-orm'
import type { Check } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { NewRow } from './rows'
import { SPEECH } from './schema'
import { interactions } from './table'

/** The last thing said by a speaker, or in a channel. */
type Last = { id: string; conversation_id: string; occurred_at: string }

const BY = ['speaker_id', 'channel'] as const
type By = (typeof BY)[number]

/** So long after the last a conversation still goes on; the tenant's setting. */
export const windowOf = (ctx: Context): number =>
  Number(ctx.tenant.settings.conversation_window_minutes ?? 30) * 60_000

/** Rows with their conversations, and what must hold as they are written: that nobody began one that they belong to. */
export type Linked = { rows: NewRow[]; begun: Check[] }

/** Another began the conversation between the look and the batch. */
const BEGUN = problem('service_unavailable', 'Another began the same conversation at that moment', {
  headers: { 'Retry-After': '1' },
})
/** How often it is looked for a conversation anew when others begin it meanwhile. */
const ATTEMPTS = 5

/** What `attempt` answers, which links and commits; tried again where another began the conversation meanwhile. */
export async function relinked<T>(attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt()
    } catch (error) {
      if (error !== BEGUN || count === ATTEMPTS) throw error
    }
  }
}

/**
 * Gives each of what was said its conversation, in order: the one that it names, else that of the last thing said by the
 * same speaker or in the same channel if that is no longer ago than the window, else a new one.
 */
export async function linked(ctx: Context, rows: readonly NewRow[], window: number): Promise<Linked> {
  const open = rows.filter(({ type, conversation_id }) => type === SPEECH && conversation_id === null)
  const last = await lastOf(ctx, open)
  const known = { speaker_id: new Map(last.speaker_id), channel: new Map(last.channel) }
  const first: NewRow[] = []
  const linked = rows.map((row) => {
    if (row.type !== SPEECH) return row
    const found = row.conversation_id ?? goesOnWith(row, last, window)
    const one = { ...row, conversation_id: found ?? newId(ctx.now) }
    if (found === undefined) first.push(one)
    const { id, conversation_id, occurred_at } = one
    for (const by of BY) {
      const name = row[by]
      if (name !== null) last[by].set(name, { id, conversation_id, occurred_at })
    }
    return one
  })
  return { rows: linked, begun: BY.flatMap((by) => stillNone(ctx, by, first, known[by], window)) }
}

/** That since the look nothing was said that those who begin a conversation would have gone on with. */
function stillNone(
  { tenant }: Context,
  by: By,
  first: readonly NewRow[],
  known: ReadonlyMap<string, Last>,
  window: number,
): Check[] {
  const asked = first.flatMap((row) => {
    const name = row[by]
    const at = Date.parse(row.occurred_at)
    if (name === null) return []
    return [[name, known.get(name)?.id ?? '', iso(Math.max(0, at - window)), iso(at + window)]]
  })
  if (asked.length === 0) return []
  const column = sql.identifier(by)
  const said = (place: number) => sql.raw(`n.value ->> ${place}`)
  const since = sql`select 1 from json_each(${JSON.stringify(asked)}) as n cross join ${interactions} as i
    where i.tenant_id = ${tenant.id} and i.${column} = ${said(0)} and i.id > ${said(1)}
      and i.occurred_at between ${said(2)} and ${said(3)} and i.conversation_id is not null`
  return [{ holds: sql`not exists (${since})`, otherwise: BEGUN }]
}

/** The speaker's before the channel's, where both are recent: a person takes a conversation from one line to another. */
function goesOnWith(row: NewRow, last: Record<By, Map<string, Last>>, window: number): string | undefined {
  const at = Date.parse(row.occurred_at)
  for (const by of BY) {
    const found = last[by].get(row[by] ?? '')
    // What is told late may belong before.
    if (found && Math.abs(at - Date.parse(found.occurred_at)) <= window) return found.conversation_id
  }
  return undefined
}

/** What was said last by each of their speakers and in each of their channels; one call to D1, and none for nobody's. */
async function lastOf(ctx: Context, rows: readonly NewRow[]): Promise<Record<By, Map<string, Last>>> {
  const last: Record<By, Map<string, Last>> = { speaker_id: new Map(), channel: new Map() }
  const asked = BY.flatMap((by) => {
    const names = [...new Set(rows.flatMap((row) => row[by] ?? []))]
    return names.length === 0 ? [] : lastBy(ctx, by, names)
  })
  if (asked.length === 0) return last
  const found = await ctx.db.all<Last & { by: By; name: string }>(sql.join(asked, sql` union all `))
  for (const { by, name, ...one } of found) last[by].set(name, one)
  return last
}

function lastBy({ tenant }: Context, by: By, names: readonly string[]): SQL {
  const column = sql.identifier(by)
  return sql`select ${by} as by, i.${column} as name, i.id as id, i.conversation_id as conversation_id, i.occurred_at as occurred_at
    from json_each(${JSON.stringify(names)}) as n cross join ${interactions} as i
    where i.tenant_id = ${tenant.id} and i.${column} = n.value and i.conversation_id is not null
      and i.id = (select max(l.id) from ${interactions} as l
        where l.tenant_id = ${tenant.id} and l.${column} = n.value)`
}
