import type { Context } from '../../../data/context'
import { defined } from '../../../lib/defined'
import { addType, changeType, findType, notesOf, removeType, typeOf } from '../../events/types/noted'
import type { EventTypeRow } from '../../events/types/table'
import { refuseMatch, showing } from '../showing'
import type { EventTypeIn, EventTypePatch, EventTypePut } from './schema'

/** A type as Svix's clients see it; `made` where the request made it, which is 201. */
export function eventTypeOut(row: EventTypeRow, made = false, withContent = true) {
  const notes = notesOf(row)
  return {
    ...{ name: row.name, description: row.description, archived: row.archived, ...notes },
    schemas: withContent ? notes.schemas : null,
    ...{ createdAt: row.created_at, updatedAt: row.updated_at, version: row.version, made },
  }
}

type Shown = ReturnType<typeof eventTypeOut>

const plain = (row: EventTypeRow) => eventTypeOut(row)
const asMade = (row: EventTypeRow) => eventTypeOut(row, true)

/** Makes a type, or takes an archived one of that name out of the archive; 409 where there is one. */
export async function makeType(ctx: Context, input: EventTypeIn): Promise<Shown> {
  const known = await findType(ctx, input.name)
  const { name: _, ...fields } = input
  if (!known?.archived) return asMade(await addType(showing(ctx, asMade), input))
  return asMade(await changeType(showing(ctx, asMade), known, { ...fields, archived: false }))
}

/** Changes a type as a whole, or makes it. */
export async function putType(ctx: Context, name: string, input: EventTypePut): Promise<Shown> {
  const known = await findType(ctx, name)
  if (!known) refuseMatch(ctx, 'event type')
  if (!known) return asMade(await addType(showing(ctx, asMade), { name, ...input }))
  return plain(await changeType(showing(ctx, plain), known, input))
}

/** Changes what is sent of a type. */
export async function patchType(ctx: Context, name: string, input: EventTypePatch): Promise<Shown> {
  const known = await typeOf(ctx, name)
  return plain(await changeType(showing(ctx, plain), known, defined(input)))
}

/** Archives a type, or removes it for good. */
export async function deleteType(ctx: Context, name: string, expunge: boolean): Promise<undefined> {
  const row = await typeOf(ctx, name)
  if (expunge) await removeType(ctx, row)
  else
    await changeType(
      showing(ctx, () => undefined),
      row,
      { archived: true },
    )
}
