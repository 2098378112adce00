import { type SQL, sql } from 'drizzle-orm'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { MOST_COST } from './bcrypt'
import { users } from './table'

/**
 * The highest cost of the bcrypt hashes that are left of those brought from elsewhere; null where none is. As long as
 * there are any, every login does the work of one, so that its time does not tell whose hash is of which kind.
 */
export async function importedCost(env: Bindings): Promise<number | null> {
  const dearest = sql.join(['$2a$', '$2b$', '$2y$'].map(dearestOf), sql` union all `)
  const row = await directory(env)
    .select({ cost: sql<string | null>`max(substr(hash, 5, 2))` })
    .from(sql`(${dearest})`)
    .get()
  return row?.cost ? Number(row.cost) : null
}

/** One look into the index `users_imported`, which is empty where nothing was brought from elsewhere. */
const dearestOf = (prefix: string): SQL => sql`
  select * from (
    select password_hash as hash from ${users}
    where substr(password_hash, 1, 2) = '$2'
      and password_hash > ${prefix} and password_hash < ${`${prefix}${MOST_COST + 1}`}
    order by password_hash desc limit 1)`
