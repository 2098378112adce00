import { env } from 'cloudflare:workers'

// Every statement that the service says to D1 while tests run is explained once, with the parameters it had: what it
// reads is found by an index, it reads no tenant's growing table whole, and it sorts none. Drizzle's statements are the
// service's; what tests write by hand passes.

/** Statements that are not explained yet, with the parameters they were first said with. */
const said = new Map<string, readonly unknown[]>()
const explained = new Set<string>()

type Statement = { bind: (...params: unknown[]) => unknown }

/** Hears every `prepare` of D1, in a session or not; objects share this isolate, and its prototypes. */
export function listen(): void {
  for (const d1 of [env.DB, env.DB.withSession()]) {
    const prototype = Object.getPrototypeOf(d1) as { prepare: (sql: string) => Statement }
    const { prepare } = prototype
    if (prepare.name === 'heard') return
    prototype.prepare = function heard(this: unknown, sql: string): Statement {
      const statement = prepare.call(this, sql)
      if (explained.has(sql) || !isOfService(new Error().stack ?? '')) return statement
      const bind = statement.bind.bind(statement)
      statement.bind = (...params) => {
        said.set(sql, params)
        return bind(...params)
      }
      return statement
    }
  }
}

/** Whether Drizzle said it, and no test of its own accord on the way. */
const isOfService = (stack: string): boolean =>
  stack.includes('SQLiteD1Session') && !stack.split('\n')[2]?.includes('/test/')

/** Tables whose rows for a tenant are settings that people make by hand: reading them all is reading a page. */
const FEW = new Set([
  'agents',
  'alert_rules',
  'endpoints',
  'event_types',
  'issuers',
  'partners',
  'signing_keys',
  'server_secrets',
  'webhook_keys',
  'workflows',
  'workflow_triggers',
])

/** Statements that may do what others may not, each with the reason. */
const MAY: { sql: RegExp; why: string }[] = [
  {
    sql: /from "state_changes" where .*"until" > \?\) order by/,
    why: 'what was changed within the last hour',
  },
  { sql: /from "users" inner join "tenants"/, why: 'sorts the tenants of one address' },
  { sql: /from "attempts" where .* order by "attempts"."at"/, why: 'sorts a few attempts of an hour' },
  {
    sql: /^delete from "(?:mail_tokens|mfa_challenges|used_challenges)"/,
    why: 'once an hour, what lives for a week',
  },
  {
    sql: /with own as materialized/,
    why: 'a user’s last fifty interactions, by their items',
  },
  {
    sql: /from events as e indexed by events_by_type left join "deliveries"/,
    why: 'sorts the deliveries of one event',
  },
  {
    sql: /first as materialized/,
    why: 'one row of each endpoint that waits; a gauge, counted up to a limit',
  },
  {
    sql: /from tenants as t cross join "usage_logs"|from "member_counts"$|from "tenants" group by|started_at" is null\), 0\) as "scheduled"/,
    why: 'the platform’s statistics: a row or a few of each tenant',
  },
  { sql: /select distinct d.endpoint_id/, why: 'sorts the endpoints that an event goes to' },
  {
    sql: /from "tenants" (?:where .*)?order by "tenants"."id" desc limit/,
    why: 'the platform’s own list, searched',
  },
  {
    sql: /as cut\s+group by tenant_id, part, size/,
    why: 'makes batches for the data pipeline of what was committed since the last time: a thousand rows at most',
  },
  {
    sql: /^update "pipeline_batches" set .* where "pipeline_batches"."refusal" is null$/,
    why: 'the fifty batches that wait for the data pipeline',
  },
  {
    sql: /with counted as materialized/,
    why: 'rolls up what was committed since the last time: five thousand rows at most, each once',
  },
  {
    sql: /^insert into "daily_deliveries" .* as told cross join deliveries/s,
    why: 'counts the results of one report, by their endpoints',
  },
  {
    sql: /from "daily_(?:counts|deliveries)" .*group by/,
    why: 'sums up days, a row for each name; not what was counted',
  },
  { sql: / glob 'v\[12\]\.\*' and substr\(/, why: 'once for each new master key, whatever is sealed' },
  {
    sql: /^(?:select .*from|delete from) "idempotency_keys" (?:order by .* (?:offset|limit) \?|where (?:\(.*\) and )?"idempotency_keys"."created_at" < \?)$/,
    why: 'once an hour, all that lives for a day, by the key',
  },
  { sql: /from "invitations" where .*"expires_at" <= \?/, why: 'nobody writes down that one expires' },
]

/** A statement whose plan is not what it should be. */
export type Bad = { why: string; sql: string; plan: string[] }

type Index = { table: string; partial: boolean; unique: boolean; columns: number }

/** Explains what was said since it was last asked; answers with what is wrong. */
export async function explain(): Promise<Bad[]> {
  const bad: Bad[] = []
  if (said.size === 0) return bad
  const { results: list } = await env.DB.prepare(
    `select i.name, i.tbl_name as "table", coalesce(instr(lower(i.sql), ' where '), 0) > 0 as partial,
      i.sql is null or instr(i.sql, 'CREATE UNIQUE') > 0 as is_unique,
      (select count(*) from pragma_index_info(i.name)) as columns
    from sqlite_master as i where i.type = 'index'`,
  ).all<{ name: string; table: string; partial: number; is_unique: number; columns: number }>()
  const indexes = new Map(
    list.map(({ name, table, partial, is_unique, columns }) => [
      name,
      { table, partial: partial === 1, unique: is_unique === 1, columns },
    ]),
  )
  for (const [sql, params] of said) {
    explained.add(sql)
    const { results } = await env.DB.prepare(`explain query plan ${sql}`)
      .bind(...params)
      .all<{ detail: string }>()
    const plan = results.map(({ detail }) => detail)
    const why = refusalOf(sql, plan, indexes)
    if (why !== null && !MAY.some((one) => one.sql.test(sql))) bad.push({ why, sql, plan })
  }
  said.clear()
  return bad
}

/** The column that has two upper bounds in one list of conditions (src/data/span.ts), or null. */
function boundTwice(sql: string): string | null {
  const bounds = [...sql.matchAll(/\(?("\w+"(?:\."\w+")?)(?:, [^()]*\))? <=? \(?\?/g)]
  for (const [i, [, column]] of bounds.entries()) {
    // What begins with a parenthesis, and is no pair, is one of two that may hold.
    const next = bounds.slice(i + 1).find(([all, other]) => other === column && !/^\([^,]*$/.test(all))
    if (next && !/\b(?:select|or)\b/.test(sql.slice(bounds[i]?.index, next.index))) return column ?? null
  }
  return null
}

/** What is wrong with a plan, or null. */
export function refusalOf(
  sql: string,
  plan: readonly string[],
  indexes: ReadonlyMap<string, Index>,
): string | null {
  const twice = boundTwice(sql)
  if (twice !== null) return `of two upper bounds on ${twice} it goes by the first`
  const limited = /\blimit\b/i.test(sql)
  for (const line of plan) {
    if (/^USE TEMP B-TREE/.test(line)) {
      const tables = plan.flatMap((one) => tableOf(one, indexes) ?? [])
      if (!tables.every((one) => FEW.has(one))) return `it sorts: ${line}`
      continue
    }
    const table = tableOf(line, indexes)
    if (table === null || FEW.has(table)) continue
    if (line.includes('AUTOMATIC')) return `it makes an index for itself: ${line}`
    const index = indexes.get(/INDEX (\w+)/.exec(line)?.[1] ?? '')
    // The first entries of an index may be asked for: of one that holds what is undone, or as a page of a list.
    if (line.startsWith('SCAN') && !(index && limited)) return `it reads a whole table: ${line}`
    const bound = /\(([^()]*)\)$/.exec(line)?.[1] ?? ''
    const one = index?.unique && index.columns === 1
    // The first or the last entry.
    const end = line.includes('COVERING') && /\b(?:max|min)\(/.test(sql)
    if (bound === 'tenant_id=?' && !limited && !one && !end) return `it reads all of a tenant’s rows: ${line}`
    // A page is read from an index that has what it is filtered by, or it passes over whatever others there are.
    if (/^(?:tenant_id=\?)?(?: ?AND id[<>]\?)*$/.test(bound) && limited && !one && !index?.partial) {
      const filter = new RegExp(`"${table}"\\."(?!tenant_id")(\\w+)" (?:=|is|in|<|>)`).exec(
        sql.split(' where ')[1] ?? '',
      )
      if (filter && filter[1] !== 'id') return `it filters by ${filter[1]} as it goes: ${line}`
    }
  }
  return null

  function tableOf(line: string, known: ReadonlyMap<string, Index>): string | null {
    const [, verb, name = ''] = /^(SCAN|SEARCH) (\S+)/.exec(line) ?? []
    if (!verb || /VIRTUAL TABLE|CONSTANT ROW|VALUES CLAUSE/.test(line) || name.startsWith('(')) return null
    const index = known.get(/INDEX (\w+)/.exec(line)?.[1] ?? '')
    if (index) return index.table
    // A query of the statement's own, not a table.
    return plan.some((one) => one === `CO-ROUTINE ${name}` || one === `MATERIALIZE ${name}`) ? null : name
  }
}
