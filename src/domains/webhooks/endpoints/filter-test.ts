import type { Context } from '../../../data/context'
import { type Happened, lastEvents } from '../../events/last'
import type { FilterTested, TestFilter, TestFilterOf } from './filter-schema'
import { existing } from './service'
import { type Refusal, whyNot } from './subscription'

/** What a filter, and nothing else, says of the tenant's last events. */
export async function testFilter(ctx: Context, { filter, ...of }: TestFilter): Promise<FilterTested> {
  return told(await lastEvents(ctx, of), (event) =>
    whyNot({ ...EVERYTHING, application_id: event.application_id, filter }, event),
  )
}

const EVERYTHING = { id: '', event_types: ['*'], channels: [] }

/** Which of the last events an endpoint would take, by its own filter or by another that is tried. */
export async function testFilterOf(ctx: Context, id: string, input: TestFilterOf): Promise<FilterTested> {
  const row = await existing(ctx, id)
  const { filter = row.filter, ...of } = input
  const found = await lastEvents(ctx, { ...of, application_id: row.application_id })
  return told(found, (event) => whyNot({ ...row, filter }, event))
}

function told(found: readonly Happened[], why: (event: Happened) => Refusal | null): FilterTested {
  const events = found.map((event) => {
    const no = why(event)
    const { id, type, timestamp } = event
    return {
      id,
      type,
      timestamp,
      passes: no === null,
      refused_by: no?.by ?? null,
      refused_at: no?.at ?? null,
    }
  })
  return { looked_at: events.length, passed: events.filter(({ passes }) => passes).length, events }
}
