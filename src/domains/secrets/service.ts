import { and, eq, inArray, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { newest } from '../../data/newest'
import type { Page } from '../../data/page'
import { removal, revise } from '../../data/revise'
import { sealedIn } from '../../data/sealed'
import { Sealer } from '../../lib/crypto'
import { iso, newId } from '../../lib/ids'
import { Problem, problem } from '../../lib/problem'
import { decryptUnderDataKey, encryptUnderDataKey, isUnderDataKey } from './data-keys'
import type { ListSecrets, PutSecret, Secret } from './schema'
import { type SecretRow, secrets } from './table'

type Seen = Secret & { version: number }

const PURPOSE = 'secret'
const MOST_SECRETS = 1_000
const bound = (tenantId = '', id = '') => `${tenantId}/${id}`

sealedIn({ purpose: PURPOSE, table: 'secrets', column: 'value', key: ['tenant_id', 'id'], bound })

/** Sets a secret: its value and its hosts together, so that whoever sends it elsewhere knows it. */
export async function putSecret(ctx: Context, name: string, input: PutSecret): Promise<Seen> {
  const row = await rowOf(ctx, name)
  if (row) return replaced(ctx, row, input)
  if (ctx.ifMatch !== undefined) throw problem('precondition_failed', 'There is no such secret to replace')
  const taken = problem('already_exists', `The secret ${name} is there`)
  try {
    return await created(ctx, name, input, taken)
  } catch (error) {
    // Another request set it meanwhile.
    const other = error instanceof Problem && error === taken && (await rowOf(ctx, name))
    if (!other) throw error
    return replaced(ctx, other, input)
  }
}

async function created(ctx: Context, name: string, input: PutSecret, taken: Problem): Promise<Seen> {
  const id = newId(ctx.now)
  const row: SecretRow = {
    ...{ tenant_id: ctx.tenant.id, id, name, ...(await sealed(ctx, id, input)) },
    ...{ version: 1, created_at: iso(ctx.now), updated_at: iso(ctx.now) },
  }
  const room = {
    holds: sql`not exists (select 1 from secrets where tenant_id = ${ctx.tenant.id} limit 1 offset ${MOST_SECRETS - 1})`,
    otherwise: problem('conflict', `A tenant has at most ${MOST_SECRETS} secrets; delete one first`),
  }
  return commit(ctx, {
    statements: [room, ctx.db.insert(secrets).values(row)],
    audit: { action: 'secret.create', resource: 'secret', resource_id: id, after: audited(row) },
    unique: { 'secrets.name': taken },
    result: view(row),
  })
}

async function replaced(ctx: Context, { id }: SecretRow, input: PutSecret): Promise<Seen> {
  const set = await sealed(ctx, id, input)
  const row = await revise(
    ctx,
    secrets,
    'secret',
    id,
    (before) => ({
      set,
      audit: {
        ...{ action: 'secret.replace', resource: 'secret', resource_id: id },
        ...{ before: audited(before), after: audited({ ...before, ...set }) },
      },
    }),
    view,
  )
  return view(row)
}

/** The columns of what is set. */
export async function sealed(ctx: Context, id: string, { value, hosts, description }: PutSecret) {
  return {
    value: await encryptUnderDataKey(ctx, value, bound(ctx.tenant.id, id)),
    hosts: [...new Set(hosts)],
    description,
  }
}

/** The tenant's secrets without their values, newest first. */
export async function listSecrets(ctx: Context, input: ListSecrets): Promise<Page<Seen>> {
  const page = await newest(ctx, secrets, input)
  return { ...page, items: page.items.map(view) }
}

/** One secret without its value; 404. */
export async function getSecret(ctx: Context, name: string): Promise<Seen> {
  return view(await existing(ctx, name))
}

/** Deletes a secret; what uses it fails from now on, and says so. 404, 412. */
export async function deleteSecret(ctx: Context, name: string): Promise<undefined> {
  const row = await existing(ctx, name)
  return commit(ctx, {
    statements: [removal(ctx, secrets, 'secret', row.id)],
    audit: { action: 'secret.delete', resource: 'secret', resource_id: row.id, before: audited(row) },
    result: undefined,
  })
}

/** A secret as who sends it needs it. */
export type Usable = { hosts: readonly string[]; open: () => Promise<string> }

/** The secrets of these names, as far as there are such. */
export async function secretsNamed(ctx: Context, names: readonly string[]): Promise<Map<string, Usable>> {
  if (names.length === 0) return new Map()
  const rows = await ctx.db
    .select()
    .from(secrets)
    .where(
      and(
        eq(secrets.tenant_id, ctx.tenant.id),
        inArray(secrets.name, sql`(select value from json_each(${JSON.stringify(names)}))`),
      ),
    )
  return new Map(
    rows.map(({ name, id, hosts, value }) => [
      name,
      { hosts, open: () => opened(ctx, value, bound(ctx.tenant.id, id)) },
    ]),
  )
}

/** Those that were set before there were data keys are sealed under the master key itself, until they are set again. */
function opened(ctx: Context, value: string, boundTo: string): Promise<string> {
  if (isUnderDataKey(value)) return decryptUnderDataKey(ctx, value, boundTo)
  return new Sealer(ctx.settings, PURPOSE).open(value, boundTo)
}

async function existing(ctx: Context, name: string): Promise<SecretRow> {
  const row = await rowOf(ctx, name)
  if (!row)
    throw problem('not_found', `There is no secret called ${name}`, { details: { resource: 'secret', name } })
  return row
}

export async function rowOf(ctx: Context, name: string): Promise<SecretRow | undefined> {
  const rows = await ctx.db
    .select()
    .from(secrets)
    .where(and(eq(secrets.tenant_id, ctx.tenant.id), eq(secrets.name, name)))
    .limit(1)
  return rows[0]
}

const view = ({ value: _, ...row }: SecretRow): Seen => row

/** As the audit log keeps it: of the value only that it was set. */
const audited = ({ name, description, hosts }: SecretRow): Record<string, unknown> => ({
  name,
  description,
  hosts,
})
