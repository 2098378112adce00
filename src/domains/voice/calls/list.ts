import { and, desc, eq } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageAmong, pageOf } from '../../../data/page'
import { madeBetween } from '../../../data/span'
import type { ListCalls } from './schema'
import { type CallRow, calls } from './table'

/** Filters with an index of their own; the first that is given leads, as what is rarest as a rule. */
const LEADS = ['to', 'campaign_id', 'agent_id', 'status'] as const

/** The tenant's calls, newest first. */
export function listCalls(ctx: Context, { limit, cursor, ...by }: ListCalls): Promise<Page<CallRow>> {
  const list = `calls:${ctx.tenant.id}:${JSON.stringify(by)}`
  const [lead, ...others] = LEADS.filter((name) => by[name] !== undefined)
  const read = (before: string | null, most: number) =>
    ctx.db
      .select()
      .from(calls)
      .where(
        and(
          eq(calls.tenant_id, ctx.tenant.id),
          lead && eq(calls[lead], by[lead] ?? ''),
          madeBetween(calls.id, by, before),
        ),
      )
      .orderBy(desc(calls.id))
      .limit(most)
  if (others.length === 0)
    return pageOf(list, { limit, cursor }, (after, most) => read(after?.id ?? null, most))
  const wanted = (row: CallRow) => others.every((name) => row[name] === by[name])
  return pageAmong(list, { limit, cursor }, read, wanted)
}
