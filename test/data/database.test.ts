import { env } from 'cloudflare:workers'
import { eq, getTableName, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { confinedTables, rowKeyOf, tenantTables } from '../../src/data/columns'
import { tenantDatabase } from '../../src/data/database'
import { sessions } from '../../src/domains/identity/sessions/table'
import { users } from '../../src/domains/identity/users/table'
import { tenants } from '../../src/domains/tenancy/tenants/table'
import { iso, newId } from '../../src/lib/ids'
import { makeWorld } from '../world'

describe('a tenant’s database', () => {
  it('gives the tenant’s rows and refuses every other statement before D1 hears of it', async () => {
    const mine = await makeWorld()
    const other = await makeWorld()
    const db = mine.ctx.db
    expect(await db.select().from(users).where(eq(users.tenant_id, mine.tenant.id)).limit(9)).toHaveLength(4)
    await expect(db.select().from(users).where(eq(users.tenant_id, other.tenant.id)).all()).rejects.toThrow()
    await expect(db.select().from(users).all()).rejects.toThrow()
    await expect(db.select().from(tenants).all()).rejects.toThrow()
    await expect(db.run(sql`delete from users`)).rejects.toThrow()
    await expect(db.all(sql.raw('select * from signing_keys'))).rejects.toThrow()
    const theirs = db.update(users).set({ email: 'x' }).where(eq(users.id, other.admin.user.id))
    const harmless = db.select().from(users).where(eq(users.tenant_id, mine.tenant.id)).limit(9)
    await expect(db.batch([harmless, theirs])).rejects.toThrow()
    const row = await env.DB.prepare('select email from users where id = ?').bind(other.admin.user.id).first()
    expect(row).toEqual({ email: other.admin.user.email })
  })

  it('has no door to what is behind it', () => {
    const db = tenantDatabase(env, 'a')
    const client = (db as unknown as { $client: object }).$client
    expect(Reflect.ownKeys(client)).toEqual([])
    const methods = ['prepare', 'batch', 'exec', 'dump', 'withSession'].filter((name) => name in client)
    expect(methods).toEqual(['prepare', 'batch'])
  })
})

describe('the schema', () => {
  it('begins every key of a tenant’s table with the tenant, or makes it unguessable', async () => {
    // A seq orders commits, and is the number of a line in the index of words; hashes of tokens (and of a login's challenge, which names no tenant) are looked up before
    // the tenant is known.
    const elsewhere: Record<string, string> = {
      events: 'seq',
      chat_finders: 'seq',
      interactions: 'seq',
      items: 'seq',
      item_changes: 'seq',
      knowledge_chunks: 'seq',
      tickets: 'seq',
      state_changes: 'seq',
      refresh_tokens: 'hash',
      mail_tokens: 'hash',
      mfa_challenges: 'hash',
    }
    for (const table of tenantTables) {
      const columns = await env.DB.prepare(
        `select name, pk, "notnull" from pragma_table_info('${table}')`,
      ).all<{
        name: string
        pk: number
        notnull: number
      }>()
      const tenant = columns.results.find((column) => column.name === 'tenant_id')
      expect(tenant, table).toMatchObject({ notnull: 1 })
      const first = columns.results.find((column) => column.pk === 1)
      expect([table, first?.name]).toEqual([table, elsewhere[table] ?? 'tenant_id'])
    }
  })

  it('begins every index on a tenant’s table with the tenant, but for those that are asked across tenants', async () => {
    const across: Record<string, string> = {
      agent_syncs_due: 'providers are told of agents, whose ever they are',
      alert_watches_due: 'the sweep looks at whose minute is over, whose ever it is',
      api_keys_by_hash: 'a key names no tenant',
      api_keys_by_id: 'the platform lists the keys of all tenants',
      audit_unsealed_by_time: 'the sealing looks at what is unsealed, whose ever it is',
      billing_accounts_due: 'simulated subscriptions go on, whose ever they are',
      calls_due: 'the sweep looks for those that nothing drives, whose ever they are',
      chat_shares_by_token: 'a public link names no tenant',
      checkouts_due: 'open checkouts are looked at, whose ever they are',
      credit_months_due: 'months that are over are invoiced, whose ever they are',
      dropped_files_due: 'the sweep looks at what is to be removed, whose ever it is',
      events_undispatched: 'the sweep looks at what is undone, whose ever it is',
      endpoints_degraded: 'the sweep looks for those whose probe is due, whose ever they are',
      files_unfinished: 'uploads that never ended are dropped, whose ever they are',
      interaction_counts_behind: 'the sweep looks at what is not counted, whose ever it is',
      invitations_by_hash: 'a mailed token names no tenant',
      issuers_by_iss: 'a token names its issuer before its tenant',
      jobs_due: 'the sweep looks for those that nothing runs, whose ever they are',
      mails_by_age: 'the mail box of development, and mail that is due',
      mails_due: 'mail is sent whose ever it is',
      oauth_accounts_by_subject: 'a login at a provider names no tenant',
      partner_tenants_by_partner: 'a partner is of no tenant',
      partner_users_by_partner: 'a partner is of no tenant',
      passkeys_by_credential: 'a passkey names no tenant',
      pipeline_batches_due: 'batches are sent whose ever they are',
      pipeline_batches_waiting: 'whether any tenant has some is asked for all',
      provider_references_by_id: 'a provider’s id names no tenant, and is one tenant’s alone',
      sessions_by_end: 'sessions that are over are written down, and dropped, whose ever they are',
      state_changes_by_end: 'old changes are dropped, whose ever they are',
      state_changes_untold: 'the sweep looks at what is undone, whose ever it is',
      users_by_address: 'a login names an address, and perhaps no tenant',
      users_by_id: 'the platform names a user by the id alone',
      users_imported: 'how dear imported hashes are, over all tenants',
      users_personal: 'an address has one personal tenant',
      workflow_triggers_due: 'schedules are looked at whose ever they are',
      webhook_sources_by_id: 'a source’s URL names no tenant',
    }
    const { results } = await env.DB.prepare(
      `select i.name as name, i.tbl_name as "table", (select c.name from pragma_index_info(i.name) as c where c.seqno = 0) as first
       from sqlite_master as i where i.type = 'index'`,
    ).all<{ name: string; table: string; first: string }>()
    const own = results.filter(({ table, name }) => tenantTables.has(table) && !name.startsWith('sqlite_'))
    expect(own.length).toBeGreaterThan(20)
    const other = own.filter(({ first }) => first !== 'tenant_id').map(({ name }) => name)
    expect(other.filter((name) => !(name in across))).toEqual([])
  })

  it('has an index for every foreign key, by which what hangs on a row is found', async () => {
    for (const table of tenantTables) {
      const keys = await env.DB.prepare(
        `select id, "from" as name from pragma_foreign_key_list('${table}')`,
      ).all<{
        id: number
        name: string
      }>()
      const indexes = await env.DB.prepare(
        `select l.name as index_name, c.name as name from pragma_index_list('${table}') as l, pragma_index_info(l.name) as c
         where l.partial = 0 order by l.name, c.seqno`,
      ).all<{ index_name: string; name: string }>()
      const columns = [...Map.groupBy(indexes.results, (row) => row.index_name).values()].map((rows) =>
        rows.map(({ name }) => name),
      )
      for (const [id, key] of Map.groupBy(keys.results, (row) => row.id)) {
        const named = key.map(({ name }) => name)
        const found = columns.some((names) =>
          named.every((name) => names.slice(0, named.length).includes(name)),
        )
        expect([table, id, named, found]).toEqual([table, id, named, true])
      }
    }
  })

  it('declares every table that has a tenant_id as a tenant’s, so that the guard knows it', async () => {
    const tables = await env.DB.prepare(
      "select name from sqlite_master where type = 'table' and instr(sql, '`tenant_id`') > 0",
    ).all<{ name: string }>()
    expect(tables.results.map((row) => row.name).sort()).toEqual([...tenantTables].sort())
  })

  it('lets no foreign key cross tenants', async () => {
    const mine = await makeWorld()
    const other = await makeWorld()
    const now = iso(Date.now())
    const session = mine.ctx.db.insert(sessions).values({
      tenant_id: mine.tenant.id,
      id: newId(Date.now()),
      user_id: other.member.user.id,
      created_at: now,
      last_seen_at: now,
      expires_at: now,
    })
    await expect(session.run()).rejects.toThrow()
    let seen = 0
    for (const table of tenantTables) {
      const columns = await env.DB.prepare(
        `select id, "from" as column, "table" as target from pragma_foreign_key_list('${table}')`,
      ).all<{ id: number; column: string; target: string }>()
      // What has no tenant can't be another tenant's.
      const within = columns.results.filter(({ target }) => tenantTables.has(target))
      for (const [id, key] of Map.groupBy(within, (row) => row.id)) {
        seen += 1
        expect([table, id, key.some(({ column }) => column === 'tenant_id')]).toEqual([table, id, true])
      }
    }
    expect(seen).toBeGreaterThan(2)
  })
})

describe('tables without rowids', () => {
  it('are those that say so, by the key that they have', async () => {
    for (const table of confinedTables) {
      const name = getTableName(table)
      const { results } = await env.DB.prepare(
        `select group_concat(name, ',') as "key" from (select name from pragma_table_info(?1) where pk > 0 order by pk)
          where (select wr from pragma_table_list where name = ?1) = 1`,
      )
        .bind(name)
        .all<{ key: string | null }>()
      expect([name, rowKeyOf(table).join(',')]).toEqual([name, results[0]?.key ?? 'rowid'])
    }
    expect(confinedTables.filter((table) => rowKeyOf(table)[0] !== 'rowid')).toHaveLength(2)
  })
})
