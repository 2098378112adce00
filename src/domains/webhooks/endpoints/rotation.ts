import { and, eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { revise } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { RotatedSecret, RotateSecret } from './schema'
import { makeSecret, openFor, sealFor } from './secret'
import { existing } from './service'
import { endpoints, type StoredSecret } from './table'

/** So many secrets sign at once: each makes the header longer, and receivers try them all. */
const MOST_ACTIVE = 10

/** The signing secret, again; who read it is audited. */
export async function readSecret(ctx: Context, id: string): Promise<{ secret: string }> {
  const row = await existing(ctx, id)
  const now = iso(ctx.now)
  const current = row.secrets.find(({ expires_at }) => expires_at === null || expires_at > now)
  if (!current) throw problem.notFound('secret', id)
  const secret = await openFor(ctx, id, current.sealed)
  return commit(ctx, {
    statements: [],
    audit: { action: 'endpoint.read_secret', resource: 'endpoint', resource_id: id },
    result: { secret },
    secret: true,
  })
}

/**
 * Gives an endpoint a new signing secret, made or brought along; the one before signs too until the overlap has ended.
 * Those that have expired leave the row. 409 where too many still sign, 422 for one that the endpoint has already.
 */
export async function rotateSecret(ctx: Context, id: string, input: RotateSecret): Promise<RotatedSecret> {
  const secret = input.secret ?? makeSecret()
  const ends = input.overlap_seconds === 0 ? null : iso(ctx.now + input.overlap_seconds * 1000)
  const answer = { secret, previous_expires_at: ends }
  await revise(
    ctx,
    endpoints,
    'endpoint',
    id,
    async (row) => {
      const before = row.secrets.filter(signs(ctx))
      if (input.secret !== undefined) await refuseKnown(ctx, id, before, input.secret)
      const older = before.flatMap((one) =>
        one.expires_at !== null ? one : ends === null ? [] : { ...one, expires_at: ends },
      )
      if (older.length >= MOST_ACTIVE) throw tooMany(older)
      const added = { sealed: await sealFor(ctx, id, secret), expires_at: null }
      return {
        set: { secrets: [added, ...older] },
        audit: {
          ...{ action: 'endpoint.rotate_secret', resource: 'endpoint', resource_id: id },
          after: { previous_expires_at: ends, active: older.length + 1 },
        },
        secret: true,
      }
    },
    () => answer,
  )
  return answer
}

const signs =
  (ctx: Context) =>
  ({ expires_at }: StoredSecret) =>
    expires_at === null || expires_at > iso(ctx.now)

async function refuseKnown(ctx: Context, id: string, known: readonly StoredSecret[], secret: string) {
  for (const { sealed } of known)
    if ((await openFor(ctx, id, sealed)) === secret)
      throw problem.invalid({ secret: 'must be another than those that the endpoint signs with already' })
}

function tooMany(older: readonly StoredSecret[]) {
  const next_expires_at = older.flatMap(({ expires_at }) => expires_at ?? []).sort()[0]
  const message = `The endpoint signs with ${MOST_ACTIVE} secrets already; rotate with overlap_seconds 0, or after ${next_expires_at}`
  return problem('conflict', message, { details: { limit: MOST_ACTIVE, next_expires_at } })
}

/** Removes the tenant's signing secrets whose overlap has ended; nothing signs with them any more. */
export async function dropExpiredSecrets(ctx: Context): Promise<void> {
  const now = iso(ctx.now)
  const expired = sql`exists (select 1 from json_each(${endpoints.secrets}) where value ->> 'expires_at' <= ${now})`
  const left = sql`(select json_group_array(json(value)) from json_each(${endpoints.secrets})
    where value ->> 'expires_at' is null or value ->> 'expires_at' > ${now})`
  const statement = ctx.db
    .update(endpoints)
    .set({ secrets: left })
    .where(and(eq(endpoints.tenant_id, ctx.tenant.id), expired))
  await commit(ctx, { statements: [statement], result: undefined })
}
