import { and, eq, gte, isNull, lt, ne, type SQL, sql } from 'drizzle-orm'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { sealedIn } from '../../../data/sealed'
import { bareTenant, systemContext } from '../../../data/system'
import type { Bindings } from '../../../env'
import { randomBytes, Sealer } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { tenants } from '../../tenancy/tenants/table'
import { PUBLISHED_AFTER_MS, PUBLISHED_AHEAD_MS } from './lifetimes'
import { signingKeys } from './table'

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now'>
type Row = typeof signingKeys.$inferInsert
type Made = Row & { signs_from: string }

sealedIn({
  ...{ purpose: 'signing-keys', table: 'signing_keys', column: 'private_sealed' },
  key: ['kid'],
  bound: (kid = '') => kid,
})

const DAY_MS = 24 * 3600_000

/**
 * Makes the key that signs next: published now, it signs once every cache must have seen it; the one before stays until
 * its last token has ended. 409 `conflict` while a key waits for its time already.
 */
export async function rotateSigningKey(ctx: Context) {
  const row = await newKey(ctx, ctx.now + PUBLISHED_AHEAD_MS)
  const { kid, created_at, signs_from } = row
  const waiting = problem('conflict', 'A new key is published already and has not begun to sign')
  return commit(ctx, {
    statements: [
      { statement: insertion(ctx, row, NONE_WAITS(ctx)), otherwise: waiting },
      retirement(ctx, row),
    ],
    result: { kid, created_at, signs_from },
    audit: { action: 'signing_key.rotate', resource: 'signing_key', resource_id: kid, after: { signs_from } },
  })
}

/** The first key, which signs at once. Two isolates may try at the same time; the condition lets one in. */
export async function makeKeyIfNone(caller: Caller): Promise<void> {
  const none = sql`not exists (select 1 from signing_keys
    where published_until is null or published_until > ${iso(caller.now)})`
  await directory(caller.env).run(insertion(caller, await newKey(caller, caller.now), none))
}

/** The next key, where the newest one has been there for its days; whether one was made, here. */
export async function makeKeyIfOld(caller: Caller, newest: string): Promise<boolean> {
  const due = iso(caller.now - caller.settings.SIGNING_KEY_DAYS * DAY_MS)
  if (newest > due) return false
  const row = await newKey(caller, caller.now + PUBLISHED_AHEAD_MS)
  const still = sql`not exists (select 1 from signing_keys where created_at > ${due})`
  const made = await makeOnRecord(caller, row, still)
  if (made) log.info('signing_key_rotated', { kid: row.kid, signs_from: row.signs_from })
  return made
}

/** In the platform's log, where there is a platform; whether the condition let it in. */
async function makeOnRecord(caller: Caller, row: Made, condition: SQL): Promise<boolean> {
  const { env } = caller
  const { kid, signs_from } = row
  const platform = await platformTenant(env)
  if (!platform) {
    const [made] = await directory(env).batch([insertion(caller, row, condition), retirement(caller, row)])
    return made.length > 0
  }
  const other = problem('conflict', 'Another was faster')
  const ctx = systemContext(env, bareTenant(platform.id), 'key-rotation', () => undefined)
  return commit(ctx, {
    statements: [{ statement: insertion(caller, row, condition), otherwise: other }, retirement(caller, row)],
    result: true,
    audit: { action: 'signing_key.rotate', resource: 'signing_key', resource_id: kid, after: { signs_from } },
  }).catch((error: unknown) => {
    if (error === other) return false
    throw error
  })
}

/** The tenant of the platform's administrators, by the names that it is made under (scripts/lib/platform-admin.mjs). */
function platformTenant(env: Bindings) {
  const named = and(gte(tenants.slug, 'platform'), lt(tenants.slug, 'platform.'), eq(tenants.is_platform, 1))
  return directory(env)
    .select({ id: tenants.id })
    .from(tenants)
    .where(named)
    .orderBy(tenants.slug)
    .limit(1)
    .get()
}

/** Deletes the keys whose last token has ended. */
export async function dropOldSigningKeys(env: Bindings, now: number): Promise<void> {
  await directory(env)
    .delete(signingKeys)
    .where(lt(signingKeys.published_until, iso(now)))
}

const NONE_WAITS = ({ now }: Caller) =>
  sql`not exists (select 1 from signing_keys where signs_from > ${iso(now)})`

async function newKey(caller: Caller, signsFrom: number): Promise<Made> {
  const kid = base64url(randomBytes(16))
  const pair = await generateKeyPair('ES256', { extractable: true })
  const public_jwk: JWK = { ...(await exportJWK(pair.publicKey)), kid, alg: 'ES256', use: 'sig' }
  const secret = JSON.stringify(await exportJWK(pair.privateKey))
  return {
    kid,
    public_jwk,
    private_sealed: await new Sealer(caller.settings, 'signing-keys').seal(secret, kid),
    created_at: iso(caller.now),
    signs_from: iso(signsFrom),
    published_until: null,
  }
}

/** Not async, as the next: they go into a batch. */
function insertion({ env }: Caller, row: Row, condition: SQL) {
  return directory(env)
    .insert(signingKeys)
    .select(
      sql`select ${row.kid}, ${JSON.stringify(row.public_jwk)}, ${row.private_sealed}, ${row.created_at},
        ${row.signs_from}, null where ${condition}`,
    )
    .returning({ kid: signingKeys.kid })
}

/** Says until when the keys before `row` are published, where `row` was let in. */
function retirement({ env }: Caller, row: Made) {
  return directory(env)
    .update(signingKeys)
    .set({ published_until: iso(Date.parse(row.signs_from) + PUBLISHED_AFTER_MS) })
    .where(
      and(
        isNull(signingKeys.published_until),
        ne(signingKeys.kid, row.kid),
        sql`exists (select 1 from ${signingKeys} as made where made.kid = ${row.kid})`,
      ),
    )
}
