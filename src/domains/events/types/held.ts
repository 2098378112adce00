import { and, eq, inArray, type SQL, sql } from 'drizzle-orm'
import type { Check } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { log } from '../../../lib/log'
import { type FieldErrors, problem } from '../../../lib/problem'
import { Budget } from './budget'
import { type Checker, checkerOf } from './json-schema'
import { type EventTypeRow, eventTypes } from './table'

// Events are held against their types as these were when this isolate last read them, so that nothing is read for one;
// that they still are so is a condition of the batch that takes the events.

/** A type as it is remembered: `mark` tells its versions apart, and is empty where the tenant has no such type. */
type Known = { mark: string; validation: EventTypeRow['validation']; check: Checker | null }

export type Sending = { type: string; data: unknown }

/** What was found: how each event differs from its schema, where that only warns, and what must still hold. */
export type Held = { schemaErrors: (string | null)[]; stands: Check }

const NONE: Known = { mark: '', validation: 'off', check: null }
const MOST_KNOWN = 500
const ATTEMPTS = 5
/** Of what differs, so much is kept with the event. */
const MOST_TOLD = 500

const memories = new WeakMap<object, Map<string, Known>>()

const CHANGED = problem('conflict', 'The event’s type was changed at that moment; send it again')

/**
 * Has `take` take events that their types let in, in a batch with the condition `stands`. 422 where a type is enforced
 * and an event differs from its schema, each place named; `placeOf` says what the fields of an event are called.
 */
export async function heldAgainstTypes<T>(
  ctx: Context,
  sent: readonly Sending[],
  take: (held: Held) => Promise<T>,
  placeOf: (index: number) => string = () => '',
): Promise<T> {
  const names = [...new Set(sent.map(({ type }) => type))].sort()
  for (let attempt = 1; ; attempt++) {
    const types = await knownOf(ctx, names, attempt > 1)
    const budget = new Budget()
    const found = sent.map((event) => differences(ctx, types.known.get(event.type) ?? NONE, event, budget))
    // What was remembered may be old, and is not what anybody is refused for.
    if (!types.fresh && found.some((one) => one !== null)) continue
    try {
      refuse(found, placeOf)
      return await take({ schemaErrors: warnings(ctx, sent, found), stands: standing(ctx, types.known) })
    } catch (error) {
      if (error !== CHANGED || attempt >= ATTEMPTS) throw error
    }
  }
}

type Difference = { fields: FieldErrors; refused: boolean } | null

function differences(ctx: Context, known: Known, { type, data }: Sending, budget: Budget): Difference {
  if (known.mark === '' && ctx.tenant.settings.unknown_event_types === 'refuse') {
    const message = `"${type}" is not an event type of this tenant; make it first, or have unknown types accepted`
    return { fields: { type: message }, refused: true }
  }
  const fields = known.check?.(data, budget) ?? null
  return fields && { fields, refused: known.validation === 'enforce' }
}

function refuse(found: readonly Difference[], placeOf: (index: number) => string): void {
  const fields: FieldErrors = Object.create(null)
  found.forEach((one, i) => {
    if (!one?.refused) return
    for (const [path, message] of Object.entries(one.fields)) fields[`${placeOf(i)}${path}`] = message
  })
  if (Object.keys(fields).length > 0) throw problem.invalid(fields)
}

function warnings(ctx: Context, sent: readonly Sending[], found: readonly Difference[]) {
  return found.map((one, i) => {
    if (!one) return null
    const error = Object.entries(one.fields).map(([path, message]) => `${path} ${message}`)
    log.warn('event_unlike_its_schema', {
      tenant_id: ctx.tenant.id,
      type: sent[i]?.type,
      places: error.length,
    })
    return error.join('; ').slice(0, MOST_TOLD)
  })
}

/** That no type has changed since it was read. */
function standing(ctx: Context, known: ReadonlyMap<string, Known>): Check {
  const marks = JSON.stringify([...known].map(([name, { mark }]) => [name, mark]))
  const changed: SQL = sql`select 1 from json_each(${marks}) as known
    left join ${eventTypes} as t on t.tenant_id = ${ctx.tenant.id} and t.name = known.value ->> 0
    where coalesce(t.id || t.version, '') <> known.value ->> 1`
  return { holds: sql`not exists (${changed})`, otherwise: CHANGED }
}

/** The types of those names, remembered or, with `anew`, as D1 has them. */
async function knownOf(ctx: Context, names: readonly string[], anew: boolean) {
  const memory = memoryOf(ctx.env)
  const keyOf = (name: string) => `${ctx.tenant.id}/${name}`
  const missing = names.filter((name) => anew || !memory.has(keyOf(name)))
  if (missing.length > 0) {
    const mine = inArray(eventTypes.name, sql`(select value from json_each(${JSON.stringify(missing)}))`)
    const rows = await ctx.db
      .select()
      .from(eventTypes)
      .where(and(eq(eventTypes.tenant_id, ctx.tenant.id), mine))
    if (memory.size + missing.length > MOST_KNOWN) memory.clear()
    const read = new Map(rows.map((row) => [row.name, remembered(row)]))
    for (const name of missing) memory.set(keyOf(name), read.get(name) ?? NONE)
  }
  const known = new Map(names.map((name) => [name, memory.get(keyOf(name)) ?? NONE]))
  return { known, fresh: missing.length === names.length }
}

function memoryOf(env: object): Map<string, Known> {
  const memory = memories.get(env) ?? new Map<string, Known>()
  memories.set(env, memory)
  return memory
}

const remembered = ({ id, version, validation, schema }: EventTypeRow): Known => ({
  mark: `${id}${version}`,
  validation,
  check: schema === null || validation === 'off' ? null : checkerOf(schema),
})
