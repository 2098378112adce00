import { and, asc, desc, eq, lte, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { directory } from '../../data/database'
import { bareTenant, systemContext } from '../../data/system'
import type { Bindings } from '../../env'
import { hmac } from '../../lib/crypto'
import { base64url } from '../../lib/encoding'
import { iso } from '../../lib/ids'
import { describeError, log } from '../../lib/log'
import { Problem } from '../../lib/problem'
import { headOf, keepHead, readHead } from './head'
import { sealKey } from './keys'
import { canonical, type RawRow, rowsAfter } from './rows'
import { auditLog, auditSeals, auditUnsealed, isNumber, type SealRow } from './table'

// Writers know nothing of seals: they write their rows, and a mark that there are some. The sealer takes what stands.

/** Rows of one seal. */
export const MOST_ROWS = 500
/** Seals that one look makes for a tenant, and tenants that it sees to; the next takes the next. */
const MOST_SEALS = 20
const MOST_TENANTS = 100
const AT_ONCE = 10
/** Whoever looks has other things to look at: after so long no further tenant is begun. */
const BUDGET_MS = 3_000

/** What a seal says of its range; `number` and `previous` make a chain of them. */
export type Range = Pick<
  SealRow,
  'tenant_id' | 'number' | 'first_seq' | 'last_seq' | 'previous' | 'created_at'
>

/** The HMAC over a range of rows and the seal before. */
export async function sealOf(key: CryptoKey, range: Range, rows: readonly string[]): Promise<string> {
  const { tenant_id, number, first_seq, last_seq, previous, created_at } = range
  const head = JSON.stringify(['seal', tenant_id, number, first_seq, last_seq, previous, created_at])
  return base64url(await hmac(key, [head, ...rows].join('\n')))
}

/** Seals what has waited since `before`, tenant by tenant; answers with how many it saw to. */
export async function sealDue(
  env: Bindings,
  { waitUntil }: Pick<ExecutionContext, 'waitUntil'>,
  before: number,
): Promise<number> {
  const due = await directory(env)
    .select({ id: auditUnsealed.tenant_id })
    .from(auditUnsealed)
    .where(lte(auditUnsealed.since, iso(before)))
    .orderBy(asc(auditUnsealed.since))
    .limit(MOST_TENANTS)
  const left = [...due]
  const until = Date.now() + BUDGET_MS
  const worker = async () => {
    for (let one = left.shift(); one && Date.now() < until; one = left.shift())
      await sealTenant(systemContext(env, bareTenant(one.id), 'audit-sealer', waitUntil)).catch((error) =>
        log.error('audit_not_sealed', { tenant_id: one?.id ?? null, cause: describeError(error) }),
      )
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return due.length
}

/** Seals the tenant's rows that no seal covers. Where another does so at the same time, the first one's seals stand. */
export async function sealTenant(ctx: Context): Promise<void> {
  let last = await lastSeal(ctx)
  for (let made = 0; made < MOST_SEALS; made++) {
    const rows = await unsealed(ctx, last)
    const seal = await nextSeal(ctx, last, rows)
    if (seal === null) break
    if (!(await write(ctx, seal))) return
    log.info('audit_sealed', headOf(seal))
    last = seal
    // What came meanwhile waits its own while.
    if (rows.length < MOST_ROWS) break
  }
  // Before the mark goes: what a crash left to be done, or a KV that was away, is done by whoever looks next.
  if (last) await moveHead(ctx, last)
  await unmark(ctx, last?.last_seq ?? 0)
}

/**
 * Makes a seal the head, provided that the one before is in the chain still: where seals were cut off and others grew in
 * their place, the head goes on telling of those that are gone.
 */
async function moveHead(ctx: Context, seal: SealRow): Promise<void> {
  const known = await readHead(ctx.env, ctx.tenant.id)
  if (known && known.number < seal.number) {
    const stands = known.number === seal.number - 1 ? seal.previous : await sealNumbered(ctx, known.number)
    if (stands === known.seal) return keepHead(ctx.env, seal)
  } else if (!known) return keepHead(ctx.env, seal)
  else if (known.seal === seal.seal) return
  log.error('audit_log_broken', { tenant_id: ctx.tenant.id, number: known.number, seal: known.seal })
}

async function sealNumbered({ db, tenant }: Context, number: number): Promise<string | undefined> {
  const one = and(eq(auditSeals.tenant_id, tenant.id), eq(auditSeals.number, number))
  return (await db.select().from(auditSeals).where(one).limit(1))[0]?.seal
}

async function lastSeal({ db, tenant }: Pick<Context, 'db' | 'tenant'>): Promise<SealRow | null> {
  const mine = eq(auditSeals.tenant_id, tenant.id)
  const rows = await db.select().from(auditSeals).where(mine).orderBy(desc(auditSeals.number)).limit(1)
  return rows[0] ?? null
}

async function unsealed(ctx: Context, last: SealRow | null): Promise<RawRow[]> {
  const rows: RawRow[] = []
  for await (const row of rowsAfter(ctx, last?.last_seq ?? 0, Number.MAX_SAFE_INTEGER - 1)) {
    // A number that the service does not give was put there by hand: verify tells of it.
    if (Number.isSafeInteger(row.seq)) rows.push(row)
    if (rows.length === MOST_ROWS) break
  }
  return rows
}

async function nextSeal(ctx: Context, last: SealRow | null, rows: RawRow[]): Promise<SealRow | null> {
  const end = rows.at(-1)
  if (!end) return null
  const first_seq = (last?.last_seq ?? 0) + 1
  // It is sealed as it stands, and found out by whoever verifies: the later rows must not go without.
  if (end.seq - first_seq + 1 !== rows.length)
    log.error('audit_log_broken', { tenant_id: ctx.tenant.id, first_seq, last_seq: end.seq })
  const { id, key } = await sealKey(ctx.settings)
  const range = {
    tenant_id: ctx.tenant.id,
    number: (last?.number ?? 0) + 1,
    first_seq,
    last_seq: end.seq,
    previous: last?.seal ?? '',
    created_at: iso(ctx.now),
  }
  return { ...range, key_id: id, seal: await sealOf(key, range, rows.map(canonical)) }
}

/** Writes the seal; false where another was faster. What came meanwhile waits its own while. */
async function write(ctx: Context, seal: SealRow): Promise<boolean> {
  const faster = new Problem('conflict', 'Sealed by another')
  const statements = [
    ctx.db.insert(auditSeals).values(seal),
    ctx.db
      .update(auditUnsealed)
      .set({ since: iso(ctx.now) })
      .where(eq(auditUnsealed.tenant_id, ctx.tenant.id)),
  ]
  try {
    await commit(ctx, { statements, result: null, unique: { 'audit_seals.tenant_id': faster } })
    return true
  } catch (error) {
    if (error === faster) return false
    throw error
  }
}

/** Takes the mark away where nothing stands behind what is sealed. */
async function unmark(ctx: Context, sealedThrough: number): Promise<void> {
  const later = sql`exists (select 1 from ${auditLog} where ${auditLog.tenant_id} = ${ctx.tenant.id}
    and ${auditLog.seq} > ${sealedThrough} and ${isNumber()} and typeof(${auditLog.seq}) = 'integer')`
  const mine = and(eq(auditUnsealed.tenant_id, ctx.tenant.id), sql`not ${later}`)
  await commit(ctx, { statements: [ctx.db.delete(auditUnsealed).where(mine)], result: null })
}
