import type { Context } from '../src/data/context'
import { tenantDatabase } from '../src/data/database'

/** Rows that D1 says it read for what `read` asks. */
export async function rowsRead(ctx: Context, read: (own: Context) => Promise<unknown>): Promise<number> {
  let count = 0
  const { DB } = ctx.env
  const prepare = DB.prepare.bind(DB)
  const bound = (text: string, params: unknown[]) => {
    const all = async () => {
      const answer = await prepare(text)
        .bind(...params)
        .all<Record<string, unknown>>()
      count += answer.meta.rows_read
      return answer
    }
    return { all, raw: async () => (await all()).results.map((row) => Object.values(row)) }
  }
  const counting = {
    prepare: (text: string) => ({ bind: (...params: unknown[]) => bound(text, params) }),
  }
  const env = { ...ctx.env, DB: counting } as unknown as typeof ctx.env
  await read({ ...ctx, env, db: tenantDatabase(env, ctx.tenant.id) })
  return count
}
