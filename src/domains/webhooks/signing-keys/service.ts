import { and, desc, eq, gt, isNull, lte, or, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { sealedIn } from '../../../data/sealed'
import type { Bindings } from '../../../env'
import { type MasterKeys, Sealer } from '../../../lib/crypto'
import { base64, base64url, fromBase64, fromBase64url } from '../../../lib/encoding'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { Remembered } from '../../../lib/remembered'
import { isKept } from '../../tenancy/tenants/active'
import type { RotateWebhookKey, WebhookJwks, WebhookKey } from './schema'
import { type WebhookKeyRow, webhookKeys } from './table'

sealedIn({
  ...{ purpose: 'webhook-keys', table: 'webhook_keys', column: 'private_sealed' },
  key: ['tenant_id', 'id'],
  bound: (tenantId = '', id = '') => `${tenantId}/${id}`,
})

const sealer = (settings: MasterKeys) => new Sealer(settings, 'webhook-keys')

/** How long an isolate signs with, and publishes, the keys that it read. */
const FRESH_MS = 9_000
/** The same while another request looks again: what leaked is used for ten seconds, and no more. */
const STALE_MS = 10_000
/** Keys of one tenant that sign at the same time. */
const MOST_KEYS = 10

/** A key as attempts use it. */
export type Signer = { key: CryptoKey; until: number | null }

type Ring = { rows: WebhookKeyRow[]; signers?: Signer[] }

const rings = new WeakMap<Bindings, Remembered<Ring | null>>()

/** The tenant's keys that sign, the newest first; the first is made here. 404 where there is no such tenant. */
export async function listKeys(ctx: Context): Promise<WebhookKey[]> {
  const { rows } = await ringOf(ctx)
  return rows.map(view)
}

/**
 * What receivers verify `v1a` signatures with (RFC 7517, RFC 8037). 404 where there is no such tenant. `beforeLook` may
 * refuse what is not remembered.
 */
export async function keySet(ctx: Context, beforeLook: () => void): Promise<WebhookJwks> {
  const { rows } = await ringOf(ctx, beforeLook)
  return {
    keys: rows.map(({ id, public_key }) => ({
      ...{ kty: 'OKP', crv: 'Ed25519', x: base64url(fromBase64(public_key) ?? new Uint8Array()) },
      ...{ kid: id, alg: 'EdDSA', use: 'sig' },
    })),
  }
}

/** The keys by which the tenant's deliveries are signed, opened. */
export async function signersOf(ctx: Context): Promise<Signer[]> {
  const ring = await ringOf(ctx)
  ring.signers ??= await Promise.all(ring.rows.map((row) => signerOf(ctx, row)))
  return ring.signers
}

/**
 * Makes the key that signs from now on. Those before sign beside it for the overlap, so that who keeps the published keys
 * for their five minutes refuses nothing. 409 while ten sign.
 */
export async function rotateKey(ctx: Context, input: RotateWebhookKey): Promise<WebhookKey> {
  const row = await newKey(ctx)
  const until = iso(ctx.now + input.overlap_seconds * 1000)
  const mine = eq(webhookKeys.tenant_id, ctx.tenant.id)
  const few = sql`(select count(*) from ${webhookKeys} where ${mine}) < ${MOST_KEYS}`
  const later = or(isNull(webhookKeys.signs_until), gt(webhookKeys.signs_until, until))
  const tooMany = problem('conflict', 'Ten keys sign already: wait for the first to end, or let none overlap')
  const made = await commit(ctx, {
    statements: [
      ctx.db.update(webhookKeys).set({ signs_until: until }).where(and(mine, later)),
      ended(ctx),
      { statement: insertion(ctx, row, few), otherwise: tooMany },
    ],
    audit: {
      ...{ action: 'webhook_key.rotate', resource: 'webhook_key', resource_id: row.id },
      after: { public_key: row.public_key, others_sign_until: until },
    },
    result: view(row),
  })
  rings.get(ctx.env)?.forget(ctx.tenant.id)
  return made
}

/** Deletes the tenant's keys whose time is over. */
export async function dropEndedKeys(ctx: Context): Promise<void> {
  await commit(ctx, { statements: [ended(ctx)], result: undefined })
}

async function ringOf(ctx: Context, beforeLook?: () => void): Promise<Ring> {
  let memory = rings.get(ctx.env)
  if (!memory) {
    memory = new Remembered<Ring | null>(FRESH_MS, STALE_MS)
    rings.set(ctx.env, memory)
  }
  const ring = await memory.get(ctx.tenant.id, ctx.now, () => {
    beforeLook?.()
    return load(ctx)
  })
  if (!ring) throw problem.notFound('tenant', ctx.tenant.id)
  const now = iso(ctx.now)
  const rows = ring.rows.filter(({ signs_until }) => signs_until === null || signs_until > now)
  return rows.length === ring.rows.length ? ring : { rows }
}

async function load(ctx: Context): Promise<Ring | null> {
  let { rows, kept } = await read(ctx)
  if (kept && rows.every(({ signs_until }) => signs_until !== null)) {
    await makeFirst(ctx)
    rows = (await read(ctx)).rows
  }
  return rows.length > 0 ? { rows } : null
}

async function read(ctx: Context): Promise<{ rows: WebhookKeyRow[]; kept: boolean }> {
  const signing = or(isNull(webhookKeys.signs_until), gt(webhookKeys.signs_until, iso(ctx.now)))
  const [rows, [tenant]] = await ctx.db.batch([
    ctx.db
      .select()
      .from(webhookKeys)
      .where(and(eq(webhookKeys.tenant_id, ctx.tenant.id), signing))
      .orderBy(desc(webhookKeys.id)),
    ctx.db.select({ kept: sql<number>`${isKept(ctx.tenant.id)}`.as('kept') }).from(sql`(select 1)`),
  ])
  return { rows, kept: tenant?.kept === 1 }
}

/** Two isolates may try at the same time; the condition lets one in. */
async function makeFirst(ctx: Context): Promise<void> {
  const row = await newKey(ctx)
  const none = sql`not exists (select 1 from ${webhookKeys}
    where ${webhookKeys.tenant_id} = ${ctx.tenant.id} and ${webhookKeys.signs_until} is null)`
  const other = problem('conflict', 'Another was faster')
  await commit(
    { ...ctx, idempotency: null },
    {
      statements: [
        { statement: insertion(ctx, row, sql`${none} and ${isKept(ctx.tenant.id)}`), otherwise: other },
      ],
      audit: {
        ...{ action: 'webhook_key.create', resource: 'webhook_key', resource_id: row.id },
        after: { public_key: row.public_key },
      },
      result: undefined,
    },
  ).catch((error: unknown) => {
    if (error !== other) throw error
  })
}

async function newKey(ctx: Context): Promise<WebhookKeyRow> {
  const id = newId(ctx.now)
  const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair
  const { x = '', d = '' } = (await crypto.subtle.exportKey('jwk', pair.privateKey)) as JsonWebKey
  return {
    tenant_id: ctx.tenant.id,
    id,
    public_key: base64(fromBase64url(x) ?? new Uint8Array()),
    private_sealed: await sealer(ctx.settings).seal(d, `${ctx.tenant.id}/${id}`),
    created_at: iso(ctx.now),
    signs_until: null,
  }
}

async function signerOf(ctx: Context, row: WebhookKeyRow): Promise<Signer> {
  const d = await sealer(ctx.settings).open(row.private_sealed, `${row.tenant_id}/${row.id}`)
  const x = base64url(fromBase64(row.public_key) ?? new Uint8Array())
  const key = await crypto.subtle.importKey('jwk', { kty: 'OKP', crv: 'Ed25519', x, d }, 'Ed25519', false, [
    'sign',
  ])
  return { key, until: row.signs_until === null ? null : Date.parse(row.signs_until) }
}

/** Not async, as the next: they go into a batch. */
function insertion(ctx: Context, row: WebhookKeyRow, condition: SQL) {
  return ctx.db.insert(webhookKeys).select(
    sql`select ${row.tenant_id}, ${row.id}, ${row.public_key}, ${row.private_sealed}, ${row.created_at}, null
      where ${condition}`,
  )
}

function ended(ctx: Context) {
  return ctx.db
    .delete(webhookKeys)
    .where(and(eq(webhookKeys.tenant_id, ctx.tenant.id), lte(webhookKeys.signs_until, iso(ctx.now))))
}

const view = ({ id, public_key, created_at, signs_until }: WebhookKeyRow): WebhookKey => ({
  ...{ id, public_key: `whpk_${public_key}`, created_at, signs_until },
})
