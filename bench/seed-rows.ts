// A tenant's rows a hundred thousand times: each table's newest row again and again, with every column of a key told
// apart by a number. Tables come from the database itself, so a new one joins by existing.

/** What people set up by hand, and what there is one of for a tenant: as many as were made. */
const AS_THEY_ARE = new Set([
  'agents',
  'endpoints',
  'issuers',
  'webhook_sources',
  'webhook_keys',
  'data_keys',
  'alert_rules',
  'workflows',
  'workflow_triggers',
  'partner_tenants',
  'partner_users',
  'member_counts',
  'audit_seals',
  'audit_unsealed',
])

/** What the other tenants have none of, or have by itself. */
const ONCE = new Set(['member_counts', 'refresh_tokens', 'partner_tenants', 'partner_users'])

/** Columns that name another row that is told apart likewise. */
const FOLLOWS: Record<string, string[]> = {
  deliveries: ['event_id'],
  users: ['email'],
  // Of a person there are few.
  passkeys: ['user_id'],
  oauth_accounts: ['user_id'],
}

/** Rows of one statement. */
const SLICE = 20_000

type Column = { name: string; type: string; pk: number }

/** Makes `rows` rows of each of a tenant's tables. */
export async function multiply(database: D1Database, tenantId: string, rows: number): Promise<void> {
  for (const table of await tenantTables(database)) {
    if (AS_THEY_ARE.has(table)) continue
    const { columns, keys } = await shapeOf(database, table)
    const told = new Set([...keys, ...(FOLLOWS[table] ?? [])])
    const first = columns
      .filter(({ pk }) => pk > 0)
      .map(({ name }) => `"${name}"`)
      .join(', ')
    const alone = columns.filter(({ pk }) => pk > 0).length === 1
    const values = columns.map(({ name, type, pk }) => {
      if (name === 'tenant_id' || !told.has(name)) return `t."${name}"`
      if (/INT/i.test(type)) return pk && alone ? 'null' : `t."${name}" + n.i`
      return `case when t."${name}" is null then null
        when instr(t."${name}", '@') > 0 then printf('%06x', n.i) || t."${name}"
        when length(t."${name}") < 13 then t."${name}" || n.i
        else substr(t."${name}", 1, length(t."${name}") - 12) || printf('%06x', n.i) || substr(t."${name}", -6) end`
    })
    for (let from = 1; from < rows; from += SLICE)
      await database
        .prepare(
          `with recursive n(i) as (select ${from} union all select i + 1 from n where i < ${Math.min(from + SLICE, rows) - 1})
          insert or ignore into "${table}" (${columns.map(({ name }) => `"${name}"`).join(', ')})
          select ${values.join(', ')} from n, (select * from "${table}" where tenant_id = ? order by ${first} limit 1) as t`,
        )
        .bind(tenantId)
        .run()
  }
}

/** Tenants that stand beside the measured ones, each with a hundred rows of what one tenant has. */
export async function otherTenants(database: D1Database, like: string, tenants: number): Promise<void> {
  const other = `substr(?1, 1, 24) || printf('%06x', n.i) || substr(?1, -6)`
  const numbers = `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${tenants})`
  const copy = async (table: string, key: string, more: Record<string, string> = {}) => {
    const { columns, keys } = await shapeOf(database, table)
    const values = columns.map(({ name, type }) => {
      if (name === key) return other
      if (more[name]) return more[name]
      // A key that has no tenant in it is told apart by the tenant's number; seqs count by themselves.
      if (keys.has(name) && /INT/i.test(type))
        return name === 'seq' && table === 'audit_log' ? 't.seq' : 'null'
      return /^(?:hash|slug|email)$/.test(name) ? `printf('%06x', n.i) || t."${name}"` : `t."${name}"`
    })
    await database
      .prepare(
        `${numbers} insert or ignore into "${table}" (${columns.map(({ name }) => `"${name}"`).join(', ')})
        select ${values.join(', ')} from n, (select * from "${table}" where "${key}" = ?1 limit 100) as t`,
      )
      .bind(like)
      .run()
  }
  await copy('tenants', 'id')
  // Nobody else is the same person, and what is found by words is found by whose it is.
  const person = { user_id: `substr(t.user_id, 1, 24) || printf('%06x', n.i) || substr(t.user_id, -6)` }
  for (const table of await tenantTables(database))
    if (!ONCE.has(table)) await copy(table, 'tenant_id', table === 'chats' ? person : {})
}

/** The tables of tenants, those that others refer to first. */
async function tenantTables(database: D1Database): Promise<string[]> {
  const { results } = await database
    .prepare(
      `select m.name as name, group_concat(k."table") as "on" from sqlite_master as m
      left join pragma_foreign_key_list(m.name) as k on k."table" <> m.name
      where m.type = 'table' and instr(m.sql, 'tenant_id') > 0 group by m.name order by m.name`,
    )
    .all<{ name: string; on: string | null }>()
  const waiting = new Map(results.map(({ name, on }) => [name, new Set(on?.split(','))]))
  const tables: string[] = []
  while (waiting.size > 0)
    for (const [name, on] of [...waiting])
      if (![...on].some((other) => waiting.has(other))) {
        tables.push(name)
        waiting.delete(name)
      }
  return tables
}

/** Its columns, and those that a key or a unique index tells rows apart by. */
async function shapeOf(
  database: D1Database,
  table: string,
): Promise<{ columns: Column[]; keys: Set<string> }> {
  const columns = await database
    .prepare(`select name, type, pk from pragma_table_info('${table}')`)
    .all<Column>()
  const unique = await database
    .prepare(
      `select c.name as name from pragma_index_list('${table}') as l, pragma_index_info(l.name) as c where l."unique" = 1`,
    )
    .all<{ name: string }>()
  const names = [
    ...columns.results.filter(({ pk }) => pk > 0).map(({ name }) => name),
    ...unique.results.map(({ name }) => name),
  ]
  return { columns: columns.results, keys: new Set(names.filter((name) => name !== 'tenant_id')) }
}
