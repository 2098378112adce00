import { and, desc, eq, isNull, lt } from 'drizzle-orm'
import { type Check, commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { find } from '../../../data/revise'
import { sha256 } from '../../../lib/crypto'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { isAdministrative, scopesByAction } from '../../tenancy/scopes'
import { ending } from '../knowledge'
import { boundsWithin } from './bounds'
import { makeKey, PREFIX_LENGTH } from './key'
import { ownLimits } from './limits'
import type { CreateApiKey } from './schema'
import { type ApiKeyRow, apiKeys } from './table'

export type KeyView = Omit<ApiKeyRow, 'version'> & {
  status: 'active' | 'rotating' | 'expired' | 'revoked'
  version: number | string
}

/** Makes a key with at most the caller's own scopes, and the bounds of a key that makes it; the answer is the only place where the key is seen. */
export async function createApiKey(ctx: Context, input: CreateApiKey): Promise<KeyView & { key: string }> {
  const scopes = chosenScopes(ctx.principal.scopes, input)
  return insertKey(ctx, { ...input, ...(await boundsWithin(ctx, input)) }, scopes, actingUser(ctx))
}

/** Stores a new key of the context's tenant where all `checks` hold; `maker` is null where the platform makes it. */
export async function insertKey(
  ctx: Context,
  input: NewKey,
  scopes: string[],
  maker: string | null,
  ...checks: Check[]
): Promise<KeyView & { key: string }> {
  const { key, row } = await newKey(ctx, { ...input, scopes, created_by: maker })
  return commit(ctx, {
    statements: [...checks, ctx.db.insert(apiKeys).values(row)],
    result: { ...row, status: 'active' as const, key },
    audit: { action: 'api_key.create', resource: 'api_key', resource_id: row.id, after: auditView(row) },
    events: [createdEvent(row)],
    secret: true,
  })
}

type NewKey = Pick<CreateApiKey, 'name'> &
  Partial<Omit<CreateApiKey, 'name' | 'scopes' | 'permissions'>> & { counted_as?: string | undefined }

/** A key and its row, which nobody has stored yet. */
export async function newKey(
  ctx: Context,
  input: NewKey & Pick<ApiKeyRow, 'scopes' | 'created_by'>,
): Promise<{ key: string; row: ApiKeyRow }> {
  const { mode = 'live' } = input
  if (mode === 'test' && ctx.settings.ENVIRONMENT === 'production')
    throw problem.invalid({ mode: 'must be live here: test keys count for nothing in production' })
  const key = await makeKey(ctx.settings, mode)
  const row: ApiKeyRow = {
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    name: input.name,
    prefix: key.slice(0, PREFIX_LENGTH),
    hash: await sha256(key),
    scopes: input.scopes,
    limits: ownLimits(input.limits),
    counted_as: input.counted_as ?? null,
    allowed_addresses: input.allowed_addresses ?? null,
    created_by: input.created_by,
    last_used_at: null,
    expires_at: input.expires_at ?? null,
    revoked_at: null,
    replaced_by: null,
    version: 1,
    created_at: iso(ctx.now),
  }
  return { key, row }
}

/** A key as the audit log keeps it. */
export const auditView = ({
  id,
  name,
  prefix,
  scopes,
  limits,
  allowed_addresses,
  expires_at,
}: ApiKeyRow) => ({
  ...{ id, name, prefix, scopes, limits, allowed_addresses, expires_at },
})

export const createdEvent = ({ id, name, prefix, scopes }: ApiKeyRow) => ({
  type: 'api_key.created',
  data: { api_key_id: id, name, prefix, scopes },
})

export const revokedEvent = ({ id, name, prefix }: ApiKeyRow) => ({
  type: 'api_key.revoked',
  data: { api_key_id: id, name, prefix },
})

function chosenScopes(held: ReadonlySet<string>, input: CreateApiKey): string[] {
  if (input.permissions) return scopesByAction(input.permissions).filter((scope) => held.has(scope))
  if (!input.scopes) return [...held].filter((scope) => !isAdministrative(scope))
  const beyond = input.scopes.filter((scope) => !held.has(scope))
  if (beyond.length > 0)
    throw problem('insufficient_scope', 'A key can’t have scopes that its maker lacks', {
      details: { missing: beyond },
    })
  return [...new Set(input.scopes)]
}

/** A key as it is shown: how it stands at the moment. */
export function keyView(ctx: Context, row: ApiKeyRow): KeyView {
  const expired = row.expires_at !== null && row.expires_at <= iso(ctx.now)
  const living = row.replaced_by === null ? 'active' : 'rotating'
  const status = row.revoked_at ? 'revoked' : expired ? 'expired' : living
  // Time and use change what is shown without a new version, so they change the ETag too.
  const used = row.last_used_at === null ? 0 : Date.parse(row.last_used_at)
  const shown = used * 2 + (status === 'expired' ? 1 : 0)
  return { ...row, status, version: shown === 0 ? row.version : `${row.version}.${shown}` }
}

/** The tenant's keys, newest first, revoked ones among them. */
export function listApiKeys(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<KeyView>> {
  return pageOf(`api_keys:${ctx.tenant.id}`, input, async (after, limit) => {
    const rows = await ctx.db
      .select()
      .from(apiKeys)
      .where(and(eq(apiKeys.tenant_id, ctx.tenant.id), after ? lt(apiKeys.id, after.id) : undefined))
      .orderBy(desc(apiKeys.id))
      .limit(limit)
    return rows.map((row) => keyView(ctx, row))
  })
}

/** One key, without the key itself. */
export async function getApiKey(ctx: Context, id: string): Promise<KeyView> {
  return keyView(ctx, await readKey(ctx, id))
}

/** The row of a key; 404 where the tenant has none of that id. */
export async function readKey(ctx: Context, id: string): Promise<ApiKeyRow> {
  const row = await find(ctx, apiKeys, id)
  if (!row) throw problem.notFound('API key', id)
  return row
}

/** Revokes a key: here at once, everywhere within ten seconds. */
export async function revokeApiKey(ctx: Context, id: string): Promise<undefined> {
  const row = await readKey(ctx, id)
  if (ctx.ifMatch !== undefined && ctx.ifMatch !== row.version)
    throw problem('precondition_failed', 'The API key has changed since it was read')
  const revoke = ctx.db
    .update(apiKeys)
    .set({ revoked_at: iso(ctx.now), version: row.version + 1 })
    .where(
      and(
        eq(apiKeys.tenant_id, ctx.tenant.id),
        eq(apiKeys.id, id),
        isNull(apiKeys.revoked_at),
        ctx.ifMatch === undefined ? undefined : eq(apiKeys.version, ctx.ifMatch),
      ),
    )
  return commit(ctx, {
    statements: [{ statement: revoke, otherwise: problem.notFound('active API key', id) }],
    result: undefined,
    audit: { action: 'api_key.revoke', resource: 'api_key', resource_id: id },
    events: [revokedEvent(row)],
    tell: [ending('api_key', id)],
  })
}
