import { desc, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { Change, Check } from '../../data/commit'
import type { Context } from '../../data/context'
import { iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { type CreditTransactionRow, creditTransactions } from './table'

type Entry = Pick<CreditTransactionRow, 'kind' | 'amount'> & { id?: string; reference?: string | undefined }

/** What a transaction is refused with, where its `unique` is given to `commit`. */
export const BOOKED_TWICE = {
  'credit_transactions.reference': problem(
    'already_exists',
    'Under this reference it was booked already; read it with GET /api/v1/billing/transactions?reference=',
  ),
}

/** The tenant's last row, within a statement of its own; a new one is guarded by it. */
const last = (ctx: Context, column: 'seq' | 'balance_after') =>
  sql`coalesce((select ${sql.identifier(column)} from credit_transactions where tenant_id = ${ctx.tenant.id} order by seq desc limit 1), 0)`

/**
 * The statements that book a transaction after the last of its tenant, and refuse the batch with 409
 * `insufficient_credit` where less is left than it takes. Not async: they belong into the batch of what they pay for.
 */
export function booked(ctx: Context, { id, kind, amount, reference }: Entry): Change<unknown>['statements'] {
  const row = ctx.db.insert(creditTransactions).values({
    tenant_id: ctx.tenant.id,
    seq: sql`${last(ctx, 'seq')} + 1`,
    id: id ?? newId(ctx.now),
    ...{ kind, amount, reference: reference ?? null },
    balance_after: sql`${last(ctx, 'balance_after')} + ${amount}`,
    created_at: iso(ctx.now),
  })
  return amount < 0 ? [holds(ctx, -amount), row] : [row]
}

/**
 * The same for many transactions, one after the other, in two statements: the batch is refused where what is left would not
 * do for one of them. Not async: they belong into the batch of what they pay for.
 */
export function bookedEach(ctx: Context, entries: readonly Entry[]): Change<unknown>['statements'] {
  const [only, second] = entries
  if (!only) return []
  if (!second) return booked(ctx, only)
  let [sum, lowest] = [0, 0]
  const rows = entries.map(({ id, kind, amount, reference }) => {
    sum += amount
    lowest = Math.min(lowest, sum)
    return [id ?? newId(ctx.now), kind, amount, sum, reference ?? null]
  })
  const of: Record<string, SQL> = {
    tenant_id: sql`${ctx.tenant.id}`,
    seq: sql`${last(ctx, 'seq')} + key + 1`,
    id: sql`json_extract(value, '$[0]')`,
    kind: sql`json_extract(value, '$[1]')`,
    amount: sql`json_extract(value, '$[2]')`,
    balance_after: sql`${last(ctx, 'balance_after')} + json_extract(value, '$[3]')`,
    reference: sql`json_extract(value, '$[4]')`,
    created_at: sql`${iso(ctx.now)}`,
  }
  const values = Object.keys(getTableColumns(creditTransactions)).map((name) => of[name] ?? sql`null`)
  const insert = ctx.db
    .insert(creditTransactions)
    .select(sql`select ${sql.join(values, sql`, `)} from json_each(${JSON.stringify(rows)})`)
  return lowest < 0 ? [holds(ctx, -lowest), insert] : [insert]
}

/**
 * Takes back what was bought, as far as it is still there: what was spent stays spent, and nobody owes credit. Nothing is
 * booked where nothing is left. Not async: it belongs into the batch that says why.
 */
export function takenBack(ctx: Context, credits: number, reference: string) {
  return refund(ctx, sql`-min(balance_after, ${credits})`, reference)
}

/**
 * Gives again what was taken back under references that begin with `of`, all `but` so many credits of it. Nothing is booked
 * where no more was taken. Not async: it belongs into the batch that says why.
 */
export function givenBack(
  ctx: Context,
  { of, but, reference }: { of: string; but: number; reference: string },
) {
  const taken = sql`(select coalesce(-sum(r.amount), 0) from credit_transactions as r where r.tenant_id = ${ctx.tenant.id}
    and r.reference >= ${of} and r.reference < ${`${of}~`} and r.kind = 'refund')`
  return refund(ctx, sql`max(0, ${taken} - ${but})`, reference)
}

/** A refund of so many credits after the tenant’s last transaction; none of 0. */
function refund(ctx: Context, amount: SQL, reference: string) {
  const of: Record<string, SQL> = {
    tenant_id: sql`${ctx.tenant.id}`,
    seq: sql`seq + 1`,
    id: sql`${newId(ctx.now)}`,
    kind: sql`'refund'`,
    amount: sql`moved`,
    balance_after: sql`balance_after + moved`,
    reference: sql`${reference}`,
    created_at: sql`${iso(ctx.now)}`,
  }
  const values = Object.keys(getTableColumns(creditTransactions)).map((name) => of[name] ?? sql`null`)
  const before = sql`select seq, balance_after, ${amount} as moved from credit_transactions
    where tenant_id = ${ctx.tenant.id} order by seq desc limit 1`
  return ctx.db
    .insert(creditTransactions)
    .select(sql`select ${sql.join(values, sql`, `)} from (${before}) where moved <> 0`)
}

function holds(ctx: Context, credits: number): Check {
  return {
    holds: sql`${last(ctx, 'balance_after')} >= ${credits}`,
    otherwise: problem('insufficient_credit', `This takes ${credits} credits, and there are fewer left`, {
      details: { needed: credits },
    }),
  }
}

/** The tenant's last transaction; undefined before the first. One row is read, however many there are. */
export function lastTransaction(ctx: Context): Promise<CreditTransactionRow | undefined> {
  return ctx.db
    .select()
    .from(creditTransactions)
    .where(eq(creditTransactions.tenant_id, ctx.tenant.id))
    .orderBy(desc(creditTransactions.seq))
    .limit(1)
    .get()
}
