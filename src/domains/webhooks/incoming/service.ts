import { sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { MASK } from '../endpoints/headers'
import type { CreateSource, Source, UpdateSource } from './schema'
import { storeSecrets } from './secrets'
import { type SourceRow, webhookSources } from './table'

type Seen = Source & { version: number }

const MOST_SOURCES = 50

const view = (ctx: Context, row: SourceRow): Seen => ({
  ...row,
  url: `${ctx.settings.PUBLIC_URL}/api/v1/webhooks/in/${row.id}`,
  secrets: row.secrets.map(() => MASK),
})

/** As the audit log keeps it: of the secrets only how many there are. */
const audited = ({
  kind,
  name,
  hmac,
  per_minute,
  subject_path,
  secrets,
}: SourceRow): Record<string, unknown> => ({
  ...{ kind, name, hmac, per_minute, subject_path },
  secrets: secrets.length,
})

/** What a kind of HMAC is told, other kinds have no use for; 422. */
function optionsFor({ kind, hmac }: Pick<CreateSource, 'kind' | 'hmac'>) {
  if (kind === 'hmac' && !hmac) throw problem.invalid({ hmac: 'must say how the sender signs' })
  if (kind !== 'hmac' && hmac) throw problem.invalid({ hmac: `is for the kind hmac, and this is ${kind}` })
  return hmac ?? null
}

/** Has the tenant take webhooks from a source. 409 where it has fifty, 422 for secrets its sender can't sign with. */
export async function createSource(ctx: Context, input: CreateSource): Promise<Seen> {
  const { kind, name, per_minute, subject_path } = input
  const id = newId(ctx.now)
  const row: SourceRow = {
    ...{ tenant_id: ctx.tenant.id, id, kind, name, per_minute, subject_path },
    hmac: optionsFor(input),
    secrets: await storeSecrets(ctx, { id, kind }, input.secrets),
    version: 1,
    created_at: iso(ctx.now),
    updated_at: iso(ctx.now),
  }
  const room = {
    holds: sql`not exists (select 1 from webhook_sources where tenant_id = ${ctx.tenant.id} limit 1 offset ${MOST_SOURCES - 1})`,
    otherwise: problem('conflict', `A tenant has at most ${MOST_SOURCES} sources of webhooks`),
  }
  return commit(ctx, {
    statements: [room, ctx.db.insert(webhookSources).values(row)],
    audit: {
      action: 'webhook_source.create',
      resource: 'webhook_source',
      resource_id: id,
      after: audited(row),
    },
    result: view(ctx, row),
  })
}

/** The tenant's sources, newest first. */
export async function listSources(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<Seen>> {
  const page = await newest(ctx, webhookSources, input)
  return { ...page, items: page.items.map((row) => view(ctx, row)) }
}

/** One source, without its secrets; 404. */
export async function getSource(ctx: Context, id: string): Promise<Seen> {
  const row = await find(ctx, webhookSources, id)
  if (!row) throw problem.notFound('webhook source', id)
  return view(ctx, row)
}

/** Merges the fields that were sent into a source; what is on its way is checked by what is sent here. 404, 412, 422. */
export async function updateSource(ctx: Context, id: string, input: UpdateSource): Promise<Seen> {
  const row = await revise(
    ctx,
    webhookSources,
    'webhook source',
    id,
    async (before) => {
      const { secrets, hmac, ...plain } = defined(input)
      const set: Partial<SourceRow> = { ...plain }
      if (hmac) set.hmac = optionsFor({ kind: before.kind, hmac })
      if (secrets) set.secrets = await storeSecrets(ctx, before, secrets, before.secrets)
      return {
        set,
        audit: {
          ...{ action: 'webhook_source.update', resource: 'webhook_source', resource_id: id },
          ...{ before: audited(before), after: audited({ ...before, ...set }) },
        },
      }
    },
    (after) => view(ctx, after),
  )
  return view(ctx, row)
}

/** Takes nothing more from a source; what came of it stays, and its log goes by its age. 404, 412. */
export function deleteSource(ctx: Context, id: string): Promise<undefined> {
  return commit(ctx, {
    statements: [removal(ctx, webhookSources, 'webhook source', id)],
    audit: { action: 'webhook_source.delete', resource: 'webhook_source', resource_id: id },
    result: undefined,
  })
}
