import { type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { newId } from '../../../lib/ids'
import type { NewRow } from './rows'
import { SPEECH } from './schema'
import { interactions } from './table'

/** The last thing said by a speaker, or in a channel. */
type Last = { conversation_id: string; occurred_at: string }

const BY = ['speaker_id', 'channel'] as const
type By = (typeof BY)[number]

/** So long after the last a conversation still goes on; the tenant's setting. */
export const windowOf = (ctx: Context): number =>
  Number(ctx.tenant.settings.conversation_window_minutes ?? 30) * 60_000

/**
 * Gives each of what was said its conversation, in order: the one that it names, else that of the last thing said by the
 * same speaker or in the same channel if that is no longer ago than the window, else a new one.
 */
export async function linked(ctx: Context, rows: readonly NewRow[], window: number): Promise<NewRow[]> {
  const open = rows.filter(({ type, conversation_id }) => type === SPEECH && conversation_id === null)
  const last = await lastOf(ctx, open)
  return rows.map((row) => {
    if (row.type !== SPEECH) return row
    const conversation_id = row.conversation_id ?? goesOnWith(row, last, window) ?? newId(ctx.now)
    for (const by of BY) {
      const name = row[by]
      if (name !== null) last[by].set(name, { conversation_id, occurred_at: row.occurred_at })
    }
    return { ...row, conversation_id }
  })
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
  return sql`select ${by} as by, i.${column} as name, i.conversation_id as conversation_id, i.occurred_at as occurred_at
    from json_each(${JSON.stringify(names)}) as n cross join ${interactions} as i
    where i.tenant_id = ${tenant.id} and i.${column} = n.value and i.conversation_id is not null
      and i.id = (select max(l.id) from ${interactions} as l
        where l.tenant_id = ${tenant.id} and l.${column} = n.value)`
}
