import { and, asc, desc, eq, gt, inArray, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { removal, revise } from '../../../data/revise'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { type EventTypeRow, eventTypes, type SvixNotes } from './table'

// Event types as Svix's clients keep them: names of any kind, since what an application sends is nobody else's; archived
// before they are deleted; with notes that decide nothing here.

export type NotedType = SvixNotes & { name: string; description: string; archived: boolean }

const NO_NOTES: SvixNotes = { deprecated: false, schemas: null, groupName: null, featureFlags: null }

/** What Svix's clients said of a type; what was said elsewhere reads as its first version. */
export const notesOf = ({ svix, schema }: EventTypeRow): SvixNotes =>
  svix ?? { ...NO_NOTES, schemas: schema && { '1': schema } }

const byName = (ctx: Context, name: string) =>
  and(eq(eventTypes.tenant_id, ctx.tenant.id), eq(eventTypes.name, name))

/** The tenant's type of that name, archived or not; null where it has none. */
export async function findType(ctx: Context, name: string): Promise<EventTypeRow | null> {
  const rows = await ctx.db.select().from(eventTypes).where(byName(ctx, name)).limit(1)
  return rows[0] ?? null
}

/** The same; 404 where there is none. */
export async function typeOf(ctx: Context, name: string): Promise<EventTypeRow> {
  const row = await findType(ctx, name)
  if (!row) throw problem.notFound('event type', name)
  return row
}

/** The tenant's types by name. */
export function listTypes(
  ctx: Context,
  { limit, ascending, from }: { limit: number; ascending: boolean; from: string | null },
  archived: boolean,
): Promise<EventTypeRow[]> {
  return ctx.db
    .select()
    .from(eventTypes)
    .where(
      and(
        eq(eventTypes.tenant_id, ctx.tenant.id),
        from === null ? undefined : (ascending ? gt : lt)(eventTypes.name, from),
        archived ? undefined : eq(eventTypes.archived, false),
      ),
    )
    .orderBy((ascending ? asc : desc)(eventTypes.name))
    .limit(limit)
}

/** Those of `names` that are no types of the tenant's, or archived ones. */
export async function missingTypes(ctx: Context, names: readonly string[]): Promise<string[]> {
  const rows = await ctx.db
    .select({ name: eventTypes.name })
    .from(eventTypes)
    .where(
      and(
        eq(eventTypes.tenant_id, ctx.tenant.id),
        inArray(eventTypes.name, sql`(select value from json_each(${JSON.stringify(names)}))`),
        eq(eventTypes.archived, false),
      ),
    )
  const known = new Set(rows.map(({ name }) => name))
  return names.filter((name) => !known.has(name))
}

/** Makes a type; 409 where there is one of that name. */
export function addType(ctx: Context, { name, description, archived, ...svix }: NotedType) {
  const at = iso(ctx.now)
  const row: EventTypeRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), name, description, archived, svix },
    ...{ schema: null, validation: 'off', example: null, version: 1, created_at: at, updated_at: at },
  }
  return commit(ctx, {
    statements: [ctx.db.insert(eventTypes).values(row)],
    audit: { action: 'event_type.create', resource: 'event_type', resource_id: row.id, after: shown(row) },
    unique: { 'event_types.name': problem('already_exists', `The event type "${name}" exists`) },
    result: row,
  })
}

/** Changes what is given of a type. */
export function changeType(
  ctx: Context,
  { id }: Pick<EventTypeRow, 'id'>,
  { description, archived, ...notes }: Partial<Omit<NotedType, 'name'>>,
): Promise<EventTypeRow> {
  return revise(ctx, eventTypes, 'event type', id, (before) => {
    const svix = { ...notesOf(before), ...notes }
    const set = {
      ...(description === undefined ? {} : { description }),
      ...(archived === undefined ? {} : { archived }),
      ...(Object.keys(notes).length === 0 ? {} : { svix }),
    }
    const changed = { before: shown(before), after: shown({ ...before, ...set }) }
    return {
      set,
      audit: { action: 'event_type.update', resource: 'event_type', resource_id: id, ...changed },
    }
  })
}

/** Removes a type for good; its events stay. */
export function removeType(ctx: Context, row: EventTypeRow): Promise<undefined> {
  return commit(ctx, {
    statements: [removal(ctx, eventTypes, 'event type', row.id)],
    audit: { action: 'event_type.delete', resource: 'event_type', resource_id: row.id, before: shown(row) },
    result: undefined,
  })
}

/** As the audit log keeps it. */
const shown = ({ name, description, archived, svix }: EventTypeRow) => ({ name, description, archived, svix })
