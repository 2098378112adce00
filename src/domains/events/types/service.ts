import { and, asc, eq, gt, inArray, sql } from 'drizzle-orm'
import * as z from 'zod'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { removal, revise } from '../../../data/revise'
import { decodeCursor, encodeCursor } from '../../../lib/cursor'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { CATALOGUE, isBuiltIn, sampleOf } from '../catalogue'
import { checkerOf, schemaErrors } from './json-schema'
import type { CreateEventType, EventType, ListEventTypes, UpdateEventType } from './schema'
import { type EventTypeRow, eventTypes } from './table'

type Shown = EventType & { version?: number }

const byName = (a: Shown, b: Shown) => (a.name < b.name ? -1 : 1)

let catalogue: readonly Shown[] | undefined

/** The service's own types, by name; their JSON Schemas are made when they are first asked for. */
function builtIn(): readonly Shown[] {
  catalogue ??= Object.freeze(
    Object.entries(CATALOGUE)
      .map(([name, { description, example, data }]) => {
        const { $schema: _, ...schema } = z.toJSONSchema(data, { io: 'input', unrepresentable: 'any' })
        const own = { name, description, schema, example: example as Record<string, unknown> }
        const fixed = { validation: 'off' as const, archived: false, built_in: true }
        return { ...own, ...fixed, created_at: null, updated_at: null }
      })
      .sort(byName),
  )
  return catalogue
}

/** The service's types and the tenant's own, by name. */
export async function listEventTypes(ctx: Context, input: ListEventTypes): Promise<Page<Shown>> {
  const { limit, cursor, built_in, archived } = input
  const list = `event_types:${ctx.tenant.id}:${JSON.stringify([built_in, archived])}`
  const after = cursor === undefined ? '' : decodeCursor(list, cursor).id
  // Printed once, and no look at the database.
  if (built_in === 'true' && after === '' && builtIn().length <= limit)
    return { items: builtIn(), next_cursor: null }
  const services = built_in === 'false' ? [] : builtIn().filter(({ name }) => name > after)
  const own =
    built_in === 'true'
      ? []
      : await ctx.db
          .select()
          .from(eventTypes)
          .where(
            and(
              eq(eventTypes.tenant_id, ctx.tenant.id),
              gt(eventTypes.name, after),
              archived === 'true' ? undefined : eq(eventTypes.archived, false),
            ),
          )
          .orderBy(asc(eventTypes.name))
          .limit(limit + 1)
  const all = [...services, ...own.map(view)].sort(byName)
  const items = all.slice(0, limit)
  const last = items.at(-1)?.name
  const more = all.length > limit && last !== undefined
  return { items, next_cursor: more ? encodeCursor(list, { key: last, id: last }) : null }
}

/** One type, the service's or the tenant's. */
export async function getEventType(ctx: Context, name: string): Promise<Shown> {
  return builtIn().find((one) => one.name === name) ?? view(await existing(ctx, name))
}

/** Makes a type of the tenant's own. 409 where there is one of that name, 422 for a schema that can't be used. */
export async function createEventType(
  ctx: Context,
  input: CreateEventType & Partial<Pick<EventTypeRow, 'svix'>>,
): Promise<Shown> {
  if (isBuiltIn(input.name))
    throw problem.invalid({ name: 'is one of the service’s own types; take another' })
  check(input)
  const row: EventTypeRow = {
    svix: null,
    ...input,
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), version: 1 },
    ...{ created_at: iso(ctx.now), updated_at: iso(ctx.now) },
  }
  return commit(ctx, {
    statements: [ctx.db.insert(eventTypes).values(row)],
    audit: { action: 'event_type.create', resource: 'event_type', resource_id: row.name, after: shown(row) },
    unique: { 'event_types.name': problem('already_exists', `The event type "${input.name}" exists`) },
    result: view(row),
  })
}

/** Changes a type; events that are sent from then on are held against what it says now. */
export async function updateEventType(
  ctx: Context,
  name: string,
  input: UpdateEventType & Partial<Pick<EventTypeRow, 'svix'>>,
): Promise<Shown> {
  const { id } = await existing(ctx, name)
  const set = defined(input)
  const decide = (before: EventTypeRow) => {
    const after = { ...before, ...set }
    check(after)
    const changed = { before: shown(before), after: shown(after) }
    return {
      set,
      audit: { action: 'event_type.update', resource: 'event_type', resource_id: name, ...changed },
    }
  }
  return view(await revise(ctx, eventTypes, 'event type', id, decide, view))
}

/** Deletes a type; the events of it stay, and others may be sent, held against nothing. */
export async function deleteEventType(ctx: Context, name: string): Promise<undefined> {
  const row = await existing(ctx, name)
  return commit(ctx, {
    statements: [removal(ctx, eventTypes, 'event type', row.id)],
    audit: { action: 'event_type.delete', resource: 'event_type', resource_id: row.name, before: shown(row) },
    result: undefined,
  })
}

/** An example of a type's data, as the type has it; 422 for an unknown type where the tenant wants none of those. */
export async function sampleOfType(ctx: Context, name: string): Promise<Record<string, unknown>> {
  if (isBuiltIn(name)) return sampleOf(name)
  const row = await find(ctx, name)
  if (!row) await refuseUnknownTypes(ctx, [name], () => 'type')
  return row?.example ?? sampleOf(name)
}

/** 422 where one of `patterns` names a type that there is not, in a tenant that wants types to be made first. */
export async function refuseUnknownTypes(
  ctx: Context,
  patterns: readonly string[],
  fieldOf = (index: number) => `event_types.${index}`,
): Promise<void> {
  if (ctx.tenant.settings.unknown_event_types !== 'refuse') return
  const names = patterns.filter((pattern) => !pattern.endsWith('*') && !isBuiltIn(pattern))
  if (names.length === 0) return
  const among = inArray(eventTypes.name, sql`(select value from json_each(${JSON.stringify(names)}))`)
  const rows = await ctx.db
    .select({ name: eventTypes.name })
    .from(eventTypes)
    .where(and(eq(eventTypes.tenant_id, ctx.tenant.id), among))
  const known = new Set(rows.map(({ name }) => name))
  const unknown = patterns.flatMap((name, i) =>
    names.includes(name) && !known.has(name) ? [fieldOf(i)] : [],
  )
  const message = 'is no event type of this tenant; make it first with POST /api/v1/webhooks/event-types'
  if (unknown.length > 0) throw problem.invalid(Object.fromEntries(unknown.map((field) => [field, message])))
}

async function existing(ctx: Context, name: string): Promise<EventTypeRow> {
  if (isBuiltIn(name))
    throw problem(
      'conflict',
      `"${name}" is one of the service’s own types; only types of yours are changed and deleted`,
    )
  const row = await find(ctx, name)
  if (!row) throw problem.notFound('event type', name)
  return row
}

async function find(ctx: Context, name: string): Promise<EventTypeRow | undefined> {
  const mine = and(eq(eventTypes.tenant_id, ctx.tenant.id), sql`${eventTypes.name} = ${name}`)
  const rows = await ctx.db.select().from(eventTypes).where(mine).limit(1)
  return rows[0]
}

/** 422 for a schema that can't be used, for none where there is something to be held against it, for a wrong example. */
function check({
  schema,
  validation,
  example,
}: Pick<EventTypeRow, 'schema' | 'validation' | 'example'>): void {
  if (schema === null) {
    if (validation !== 'off') throw problem.invalid({ validation: 'must be off where there is no schema' })
    return
  }
  const errors = schemaErrors(schema)
  if (Object.keys(errors).length > 0) throw problem.invalid(errors)
  const wrong = example && checkerOf(schema)(example)
  if (wrong)
    throw problem.invalid(
      Object.fromEntries(
        Object.entries(wrong).map(([path, message]) => [path.replace(/^data/, 'example'), message]),
      ),
    )
}

const view = (row: EventTypeRow): Shown => ({ ...row, built_in: false })

/** As the audit log keeps it. */
const shown = ({ name, description, schema, validation, archived }: EventTypeRow) => ({
  ...{ name, description, schema, validation, archived },
})
