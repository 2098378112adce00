import { env } from 'cloudflare:workers'
import { eq, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { tenantTables } from '../../src/data/columns'
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
    expect(await db.select().from(users).where(eq(users.tenant_id, mine.tenant.id))).toHaveLength(4)
    await expect(db.select().from(users).where(eq(users.tenant_id, other.tenant.id)).all()).rejects.toThrow()
    await expect(db.select().from(users).all()).rejects.toThrow()
    await expect(db.select().from(tenants).all()).rejects.toThrow()
    await expect(db.run(sql`delete from users`)).rejects.toThrow()
    await expect(db.all(sql.raw('select * from signing_keys'))).rejects.toThrow()
    const theirs = db.update(users).set({ email: 'x' }).where(eq(users.id, other.admin.user.id))
    const harmless = db.select().from(users).where(eq(users.tenant_id, mine.tenant.id))
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
    // A seq orders commits; hashes of tokens (and of a login's challenge, which names no tenant) are looked up before
    // the tenant is known.
    const elsewhere: Record<string, string> = {
      events: 'seq',
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
        `select id, "from" as column from pragma_foreign_key_list('${table}')`,
      ).all<{ id: number; column: string }>()
      for (const [id, key] of Map.groupBy(columns.results, (row) => row.id)) {
        seen += 1
        expect([table, id, key.some(({ column }) => column === 'tenant_id')]).toEqual([table, id, true])
      }
    }
    expect(seen).toBeGreaterThan(2)
  })
})
