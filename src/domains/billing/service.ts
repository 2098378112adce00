import { and, desc, eq, gte, lt, lte, or } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { type Page, pageOf } from '../../data/page'
import type { Position } from '../../lib/cursor'
import { iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { insideTenant } from '../tenancy/platform/service'
import { BOOKED_TWICE, booked, lastTransaction } from './ledger'
import type { GrantCredits, ListTransactions } from './schema'
import { CREDIT_KINDS, type CreditTransactionRow, creditTransactions } from './table'

type Granted = Omit<CreditTransactionRow, 'tenant_id' | 'seq' | 'balance_after'>
export type BalanceView = { balance: number; updated_at: string | null }

/** What the tenant has left. */
export async function getBalance(ctx: Context): Promise<BalanceView> {
  const last = await lastTransaction(ctx)
  return { balance: last?.balance_after ?? 0, updated_at: last?.created_at ?? null }
}

/** The tenant's transactions, the last first; of a kind, and between times, by when they were booked. */
export function listTransactions(ctx: Context, input: ListTransactions): Promise<Page<CreditTransactionRow>> {
  const { kind, reference, created_after, created_before } = input
  const { tenant_id, seq, created_at } = creditTransactions
  const list = `credit:${ctx.tenant.id}:${JSON.stringify([kind, reference, created_after, created_before])}`
  const byTime = kind !== undefined || created_after !== undefined || created_before !== undefined
  const of = (after: Position | null) =>
    and(
      eq(tenant_id, ctx.tenant.id),
      kind && eq(creditTransactions.kind, kind),
      reference === undefined ? undefined : eq(creditTransactions.reference, reference),
      created_after === undefined ? undefined : gte(created_at, created_after),
      // A page that goes on is within that (data/span.ts).
      created_before === undefined || after ? undefined : lt(created_at, created_before),
      ...(after ? (byTime ? behind(after) : [lt(seq, Number(after.key))]) : []),
    )
  const read = (after: Position | null, limit: number) =>
    ctx.db
      .select()
      .from(creditTransactions)
      .where(of(after))
      .orderBy(...(byTime ? [desc(created_at)] : []), desc(seq))
      .limit(limit)
  // Of one reference there are a few at most, one of a kind: an index leads to them, and they are put in order here.
  const readFew = async (after: Position | null, limit: number) => {
    const rows = await ctx.db.select().from(creditTransactions).where(of(after)).limit(CREDIT_KINDS.length)
    return rows.sort((one, other) => other.seq - one.seq).slice(0, limit)
  }
  const keyOf = (row: CreditTransactionRow) => (byTime ? `${row.created_at} ${row.seq}` : row.seq)
  return pageOf(list, input, reference === undefined ? read : readFew, keyOf)
}

/** What was booked before a moment, or at that moment before a transaction. */
function behind({ key }: Position) {
  const { seq, created_at } = creditTransactions
  const [time = '', number] = String(key).split(' ')
  return [lte(created_at, time), or(lt(created_at, time), lt(seq, Number(number)))]
}

/** Gives a tenant credits that nobody pays for; under one reference, once. 404, 409 `already_exists`. */
export async function grantCredits(
  ctx: Context,
  tenantId: string,
  { amount, reference }: GrantCredits,
): Promise<Granted> {
  const inside = await insideTenant(ctx, tenantId)
  if (inside.tenant.status === 'cancelled') throw problem('conflict', 'The tenant was cancelled')
  const row = {
    ...{ id: newId(ctx.now), kind: 'grant' as const, amount },
    ...{ reference: reference ?? null, created_at: iso(ctx.now) },
  }
  return commit(inside, {
    statements: booked(inside, { id: row.id, kind: 'grant', amount, reference }),
    audit: {
      ...{ action: 'credit.grant', resource: 'tenant', resource_id: tenantId },
      after: { amount, reference: reference ?? null },
    },
    unique: BOOKED_TWICE,
    result: row,
  })
}
