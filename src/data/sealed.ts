import { sql } from 'drizzle-orm'
import type { Bindings } from '../env'
import { type MasterKeys, Sealer } from '../lib/crypto'
import { describeError, log } from '../lib/log'
import { directory } from './database'

// When there is another master key, everything at rest is sealed anew, so that the one before can be thrown away. Each
// column that holds what a Sealer made is named by the file that seals it.

/** A column of sealed texts, or of JSON in which they stand as `{"sealed":"…"}`. */
export type SealedColumn = {
  /** The Sealer's. */
  purpose: string
  table: string
  column: string
  /** The columns that name a row. */
  key: readonly string[]
  /** What a text is bound to, from the values of `key`. */
  bound: (...key: string[]) => string
  json?: true
}

const columns: SealedColumn[] = []

/** Has a column sealed anew when there is another master key. */
export function sealedIn(...some: SealedColumn[]): void {
  columns.push(...some)
}

/** The purposes that have a column, for the test that looks for one that was forgotten. */
export const sealedPurposes = (): Set<string> => new Set(columns.map(({ purpose }) => purpose))

type Row = Record<string, string> & { sealed: string }

/** How a sealed text begins within JSON. */
const MARK = '{"sealed":"'
const MARKED = /(?<=.)\{"sealed":"([^"]*)"/g

/** Rows of one look. */
const SLICE = 100

/** What was sealed anew under the master key in force, and what could not be opened. */
export type Resealed = { resealed: number; unreadable: number }

/**
 * Seals anew what was sealed under a master key that came before. A row that is written meanwhile stays as it was
 * written; doing it twice, or in two places at once, does no harm.
 */
export async function resealAll(env: Bindings, keys: MasterKeys): Promise<Resealed> {
  const sum: Resealed = { resealed: 0, unreadable: 0 }
  for (const column of columns) {
    const sealer = new Sealer(keys, column.purpose)
    const prefix = await sealer.prefix()
    for (let after: string[] | null = null; ; ) {
      const rows: Row[] = await directory(env).all<Row>(sealedBefore(column, prefix, after))
      for (const row of rows) {
        const outcome = await reseal(env, column, sealer, row)
        sum[outcome] += 1
      }
      const last = rows.at(-1)
      if (!last || rows.length < SLICE) break
      after = column.key.map((name) => last[name] ?? '')
    }
  }
  return sum
}

const names = (list: readonly string[]) =>
  sql.join(
    list.map((name) => sql.identifier(name)),
    sql`, `,
  )
const values = (list: readonly string[]) =>
  sql.join(
    list.map((value) => sql`${value}`),
    sql`, `,
  )

/** The rows that hold what was sealed under another master key, by their keys. */
function sealedBefore({ table, column, key, json }: SealedColumn, prefix: string, after: string[] | null) {
  const text = sql.identifier(column)
  // From the second character on: what begins with the mark is an object of a tenant's own names.
  const old = json
    ? sql`instr(replace(substr(${text}, 2), ${MARK + prefix}, ''), ${MARK}) > 0`
    : sql`${text} glob 'v[12].*' and substr(${text}, 1, ${prefix.length}) <> ${prefix}`
  const beyond = after ? sql`(${names(key)}) > (${values(after)})` : sql`1`
  return sql`select ${names(key)}, ${text} as sealed from ${sql.identifier(table)}
    where ${old} and ${beyond} order by ${names(key)} limit ${SLICE}`
}

async function reseal(
  env: Bindings,
  { table, column, key, bound, json, purpose }: SealedColumn,
  sealer: Sealer,
  row: Row,
): Promise<keyof Resealed> {
  const at = key.map((name) => row[name] ?? '')
  const again = async (text: string) => sealer.seal(await sealer.open(text, bound(...at)), bound(...at))
  let next = row.sealed
  try {
    if (!json) next = await again(row.sealed)
    else for (const [, text = ''] of row.sealed.matchAll(MARKED)) next = next.replace(text, await again(text))
  } catch (error) {
    log.error('not_resealed', { table, column, purpose, row: at.join('/'), cause: describeError(error) })
    return 'unreadable'
  }
  const same = sql.join(
    key.map((name, i) => sql`${sql.identifier(name)} = ${at[i]}`),
    sql` and `,
  )
  await directory(env).run(
    sql`update ${sql.identifier(table)} set ${sql.identifier(column)} = ${next}
      where ${same} and ${sql.identifier(column)} = ${row.sealed}`,
  )
  return 'resealed'
}
