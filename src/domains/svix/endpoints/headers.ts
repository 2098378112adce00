import type { Context } from '../../../data/context'
import { fieldErrors } from '../../../lib/fields'
import { problem } from '../../../lib/problem'
import { maskHeaders } from '../../webhooks/endpoints/headers'
import { UpdateEndpoint } from '../../webhooks/endpoints/schema'
import { updateEndpoint } from '../../webhooks/endpoints/service'
import type { EndpointRow } from '../../webhooks/endpoints/table'
import { showing } from '../showing'
import type { HeadersPatchIn } from './schema'

/** An endpoint's headers as Svix shows them: of those that may be credentials, the names. */
export function headersOut({ headers }: Pick<EndpointRow, 'headers'>) {
  const entries = Object.entries(headers)
  return {
    headers: Object.fromEntries(
      entries.flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : [])),
    ),
    sensitive: entries.flatMap(([name, value]) => (typeof value === 'string' ? [] : [name])),
  }
}

const nothing = () => undefined

/** Replaces an endpoint's headers. */
export async function putHeaders(
  ctx: Context,
  id: string,
  headers: Record<string, string>,
): Promise<undefined> {
  await updateEndpoint(showing(ctx, nothing), id, { headers })
}

/** Sets and removes headers by name; the others stay. */
export async function patchHeaders(
  ctx: Context,
  id: string,
  { headers = {}, deleteHeaders = [] }: HeadersPatchIn,
): Promise<undefined> {
  const given = Object.entries(headers)
  const gone = new Set([...given.map(([name]) => name), ...deleteHeaders].map((name) => name.toLowerCase()))
  const added = Object.fromEntries(given.flatMap(([name, value]) => (value === null ? [] : [[name, value]])))
  await updateEndpoint(showing(ctx, nothing), id, (row) => {
    const kept = Object.fromEntries(
      Object.entries(row.headers).filter(([name]) => !gone.has(name.toLowerCase())),
    )
    const all = UpdateEndpoint.safeParse({ headers: { ...maskHeaders(kept), ...added } })
    if (!all.success) throw problem.invalid(fieldErrors(all.error.issues))
    // What is masked stays what it was.
    return { headers: all.data.headers }
  })
}
