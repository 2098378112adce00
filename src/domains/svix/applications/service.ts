import type { Context } from '../../../data/context'
import { defined } from '../../../lib/defined'
import { problem } from '../../../lib/problem'
import {
  type ApplicationFields,
  createApplication,
  findApplication,
  getApplication,
  type Ref,
  updateApplication,
} from '../../webhooks/applications/service'
import type { ApplicationRow } from '../../webhooks/applications/table'
import { refuseMatch, showing } from '../showing'
import { prefixed } from '../wire'
import type { ApplicationIn, ApplicationPatch } from './schema'

/** An application as Svix's clients see it; `made` where the request made it, which is 201. */
export const applicationOut = (row: ApplicationRow, made = false) => ({
  ...{ id: prefixed('app', row.id), uid: row.uid, name: row.name, throttleRate: null },
  ...{ metadata: row.metadata, createdAt: row.created_at, updatedAt: row.updated_at },
  ...{ version: row.version, made },
})

type Shown = ReturnType<typeof applicationOut>

/** Makes an application, or answers with the one of its uid where that is asked for; 409 otherwise. */
export async function makeApplication(
  ctx: Context,
  input: ApplicationIn,
  getIfExists: boolean,
): Promise<Shown> {
  const known = getIfExists && input.uid ? await findApplication(ctx, { uid: input.uid }) : null
  return known ? applicationOut(known) : make(ctx, input)
}

/** Changes the application, or makes the one of that uid. A uid that is left out stays the one it is called by. */
export async function putApplication(ctx: Context, ref: Ref, input: ApplicationIn): Promise<Shown> {
  const known = await findApplication(ctx, ref)
  const named = { ...input, uid: input.uid ?? ('uid' in ref ? ref.uid : null) }
  if (known) return applicationOut(await updateApplication(showing(ctx, plain), known.id, fieldsOf(named)))
  refuseMatch(ctx, 'application')
  if ('id' in ref) throw problem.notFound('application', ref.id)
  return make(ctx, named)
}

/** Changes what is sent of an application; null empties. */
export async function patchApplication(
  ctx: Context,
  ref: Ref,
  { name, uid, metadata }: ApplicationPatch,
): Promise<Shown> {
  const { id } = await getApplication(ctx, ref)
  const set = defined({ name, uid, metadata: metadata === null ? {} : metadata })
  return applicationOut(await updateApplication(showing(ctx, plain), id, set))
}

const fieldsOf = ({ name, uid, metadata }: ApplicationIn): ApplicationFields => ({
  ...{ name, uid: uid ?? null, metadata: metadata ?? {} },
})

const plain = (row: ApplicationRow) => applicationOut(row)
const asMade = (row: ApplicationRow) => applicationOut(row, true)

async function make(ctx: Context, input: ApplicationIn): Promise<Shown> {
  return asMade(await createApplication(showing(ctx, asMade), fieldsOf(input)))
}
