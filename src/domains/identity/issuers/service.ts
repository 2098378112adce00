import { and, eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { find, removal, revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { defaultAlgs, refusalOfKeys } from '../../../lib/issuer'
import { problem } from '../../../lib/problem'
import { refusalOfUrl } from '../../../lib/safe-url'
import { ending } from '../knowledge'
import { editionOf, forgetRules } from './known'
import type { CreateIssuer, Issuer, UpdateIssuer } from './schema'
import { sealSecret } from './secret'
import { type IssuerRow, issuers, issuerUsers } from './table'

type Seen = Issuer & { version: number }

/** All of them are read together when a token is seen for the first time. */
const MOST_ISSUERS = 20

const view = (row: IssuerRow): Seen => ({ ...row, has_secret: row.secret !== null })

/** As the audit log keeps it: of the secret only whether there is one. */
function audited(row: IssuerRow): Record<string, unknown> {
  const { tenant_id, id, version, created_at, updated_at, secret, ...fields } = row
  return { ...fields, has_secret: secret !== null }
}

/** Has the tenant trust an issuer. 409 for one it has, 422 for keys that may not be fetched or don't go together. */
export async function createIssuer(ctx: Context, input: CreateIssuer): Promise<Seen> {
  const id = newId(ctx.now)
  const { secret, ...fields } = { ...input, algs: input.algs ?? defaultAlgs(input.secret) }
  await check(ctx, { ...fields, secret })
  const now = iso(ctx.now)
  const row: IssuerRow = {
    ...fields,
    tenant_id: ctx.tenant.id,
    id,
    secret: secret === null ? null : await sealSecret(ctx.settings, { tenant_id: ctx.tenant.id, id }, secret),
    version: 1,
    created_at: now,
    updated_at: now,
  }
  const room = {
    holds: sql`not exists (select 1 from issuers where tenant_id = ${ctx.tenant.id} limit 1 offset ${MOST_ISSUERS - 1})`,
    otherwise: problem('conflict', `A tenant has at most ${MOST_ISSUERS} issuers`),
  }
  const made = await commit(ctx, {
    statements: [room, ctx.db.insert(issuers).values(row)],
    result: view(row),
    audit: { action: 'issuer.create', resource: 'issuer', resource_id: id, after: audited(row) },
    unique: taken(row),
  })
  forgetRules(ctx.env, ctx.tenant.id)
  return made
}

const taken = ({ iss, aud }: Pick<IssuerRow, 'iss' | 'aud'>) => ({
  'issuers.tenant_id, issuers.iss': problem('already_exists', `The issuer ${iss} is there for ${aud}`),
})

/** The tenant's issuers, newest first. */
export async function listIssuers(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<Seen>> {
  const page = await newest(ctx, issuers, input)
  return { ...page, items: page.items.map(view) }
}

/** One issuer, without its secret; 404. */
export async function getIssuer(ctx: Context, id: string): Promise<Seen> {
  return view(await existing(ctx, id))
}

async function existing(ctx: Context, id: string): Promise<IssuerRow> {
  const row = await find(ctx, issuers, id)
  if (!row) throw problem.notFound('issuer', id)
  return row
}

/** Merges the fields that were sent into an issuer; tokens that were verified by it are verified anew. 404, 412, 422. */
export async function updateIssuer(ctx: Context, id: string, input: UpdateIssuer): Promise<Seen> {
  const row = await revise(
    ctx,
    issuers,
    'issuer',
    id,
    async (before) => {
      const { secret, ...plain } = defined(input)
      const next = { ...before, ...plain }
      await check(ctx, { ...next, secret: secret === undefined ? before.secret : secret })
      const sealed = secret && (await sealSecret(ctx.settings, before, secret))
      const set = secret === undefined ? plain : { ...plain, secret: sealed ?? null }
      return {
        set,
        audit: {
          action: 'issuer.update',
          resource: 'issuer',
          resource_id: id,
          before: audited(before),
          after: audited({ ...before, ...set }),
        },
        tell: [ending('issuer', editionOf(before))],
        unique: taken(next),
      }
    },
    view,
  )
  forgetRules(ctx.env, ctx.tenant.id)
  return view(row)
}

/** Forgets an issuer and who its subjects were; its tokens stop here at once, everywhere within ten seconds. 404, 412. */
export async function deleteIssuer(ctx: Context, id: string): Promise<undefined> {
  const row = await existing(ctx, id)
  const subjects = ctx.db
    .delete(issuerUsers)
    .where(and(eq(issuerUsers.tenant_id, ctx.tenant.id), eq(issuerUsers.issuer, id)))
  const mine = { ...ctx, ifMatch: ctx.ifMatch ?? row.version }
  await commit(ctx, {
    // By the version that is told to have ended: one that was changed meanwhile is another.
    statements: [removal(mine, issuers, 'issuer', id), subjects],
    result: undefined,
    audit: { action: 'issuer.delete', resource: 'issuer', resource_id: id, before: audited(row) },
    tell: [ending('issuer', editionOf(row))],
  })
  forgetRules(ctx.env, ctx.tenant.id)
}

type Checked = Pick<IssuerRow, 'iss' | 'jwks_uri' | 'secret' | 'algs'>

/** 422, naming what is wrong. */
async function check(ctx: Context, { iss, jwks_uri, ...rest }: Checked): Promise<void> {
  const refusal = refusalOfKeys({ jwks_uri, ...rest })
  if (refusal) throw problem.invalid(refusal)
  if (iss.replace(/\/$/, '') === ctx.settings.PUBLIC_URL)
    throw problem.invalid({ iss: 'must not be this service itself' })
  if (!ctx.settings.development && !iss.startsWith('https:')) throw problem.invalid({ iss: 'must be https' })
  if (jwks_uri === null) return
  const address = await refusalOfUrl(jwks_uri, ctx.settings)
  if (address) throw problem.invalid({ jwks_uri: address })
}
