import { and, desc, eq } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { sealedIn } from '../../data/sealed'
import { randomBytes, Sealer } from '../../lib/crypto'
import { base64url, fromBase64url, text, utf8 } from '../../lib/encoding'
import { iso } from '../../lib/ids'
import { type DataKeyRow, dataKeys } from './table'

// A tenant's secrets are encrypted under keys of its own, and those under the master key: another master key means to
// wrap a key for each tenant anew, while its secrets stay as they are and can be used.

const PURPOSE = 'data-key'
const boundTo = (tenantId = '', version = '') => `${tenantId}/${version}`

sealedIn({
  ...{ purpose: PURPOSE, table: 'data_keys', column: 'wrapped' },
  ...{ key: ['tenant_id', 'version'], bound: boundTo },
})

/** No key encrypts what is set after so long; what it encrypted before it opens as ever. */
const FRESH_MS = 90 * 24 * 3600_000

const SEALED = /^k(\d{1,9})\.([\w-]{16})\.([\w-]{22,})$/

type Caller = Pick<Context, 'env' | 'settings' | 'tenant' | 'db'>

/** A tenant's keys as this isolate has unwrapped them: a version is one key for ever. About 200 bytes each. */
const isolates = new WeakMap<object, Map<string, CryptoKey>>()
const MOST = 1_000

async function unwrap({ env, settings, tenant }: Caller, row: DataKeyRow): Promise<CryptoKey> {
  const at = boundTo(tenant.id, `${row.version}`)
  const raw = fromBase64url(await new Sealer(settings, PURPOSE).open(row.wrapped, at))
  if (!raw) throw new Error('a data key is not what was wrapped')
  const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])
  const known = isolates.get(env) ?? new Map<string, CryptoKey>()
  isolates.set(env, known)
  if (known.size >= MOST) known.clear()
  known.set(at, key)
  return key
}

/** Encrypts with AES-256-GCM under the tenant's newest data key, which is made where there is none, or none that is fresh. */
export async function encryptUnderDataKey(ctx: Context, plain: string, bound: string): Promise<string> {
  let newest = await newestKey(ctx)
  if (!newest || Date.parse(newest.created_at) + FRESH_MS <= ctx.now) {
    await addKey(ctx, (newest?.version ?? 0) + 1)
    newest = await newestKey(ctx)
  }
  if (!newest) throw new Error('the tenant’s data key went with its tenant')
  const key = await unwrap(ctx, newest)
  const iv = randomBytes(12)
  const params = { name: 'AES-GCM', iv, additionalData: utf8(bound) }
  const sealed = new Uint8Array(await crypto.subtle.encrypt(params, key, utf8(plain)))
  return `k${newest.version}.${base64url(iv)}.${base64url(sealed)}`
}

/** Whether a text is of the form that the above makes. */
export const isUnderDataKey = (sealed: string): boolean => SEALED.test(sealed)

/** The text that was encrypted; throws where it was altered, or moved to another row or tenant. */
export async function decryptUnderDataKey(ctx: Caller, sealed: string, bound: string): Promise<string> {
  const [, version = '', iv = '', body = ''] = SEALED.exec(sealed) ?? []
  const [ivBytes, bodyBytes] = [fromBase64url(iv), fromBase64url(body)]
  if (!ivBytes || !bodyBytes) throw new Error('not encrypted under a data key')
  const key =
    isolates.get(ctx.env)?.get(boundTo(ctx.tenant.id, version)) ?? (await keyOf(ctx, Number(version)))
  const params = { name: 'AES-GCM', iv: ivBytes, additionalData: utf8(bound) }
  return text(new Uint8Array(await crypto.subtle.decrypt(params, key, bodyBytes)))
}

const newestKey = (ctx: Caller) =>
  ctx.db
    .select()
    .from(dataKeys)
    .where(eq(dataKeys.tenant_id, ctx.tenant.id))
    .orderBy(desc(dataKeys.version))
    .limit(1)
    .get()

async function keyOf(ctx: Caller, version: number): Promise<CryptoKey> {
  const row = await ctx.db
    .select()
    .from(dataKeys)
    .where(and(eq(dataKeys.tenant_id, ctx.tenant.id), eq(dataKeys.version, version)))
    .get()
  if (!row) throw new Error('the tenant has no such data key')
  return unwrap(ctx, row)
}

/** Of two who make the same version at once the first's stands, and both use it. */
async function addKey(ctx: Context, version: number): Promise<void> {
  const wrapped = await new Sealer(ctx.settings, PURPOSE).seal(
    base64url(randomBytes(32)),
    boundTo(ctx.tenant.id, `${version}`),
  )
  const row = { tenant_id: ctx.tenant.id, version, wrapped, created_at: iso(ctx.now) }
  // Not the request's own change: that may be refused, and the key stays.
  await commit(
    { ...ctx, idempotency: null },
    { statements: [ctx.db.insert(dataKeys).values(row).onConflictDoNothing()], result: undefined },
  )
}
