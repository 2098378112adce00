import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { describe, expect, it } from 'vitest'
import { confined, tenantId } from '../../src/data/columns'
import type { Context } from '../../src/data/context'
import { find, removal } from '../../src/data/revise'
import { tenants } from '../../src/domains/tenancy/tenants/table'
import type { EventNudge } from '../../src/env'

// What the types refuse is refused when these tests are type-checked: where one of them came to be allowed, the mark above
// it would be an error itself.

describe('types', () => {
  it('let no table be a tenant’s that does not say whose its rows are', () => {
    const table = sqliteTable('of_nobody', { id: text().primaryKey() })
    const declared = () => [
      // @ts-expect-error it has no tenant_id
      confined(table),
      confined(sqliteTable('of_tenants', { tenant_id: tenantId(), id: text().notNull() })),
    ]
    expect(declared).toBeTypeOf('function')
  })

  it('let no row of the directory be found, changed or removed through a tenant’s context', () => {
    const through = (ctx: Context) => [
      // @ts-expect-error it has no tenant_id
      find(ctx, tenants, 'id'),
      // @ts-expect-error it has no tenant_id
      removal(ctx, tenants, 'tenant', 'id'),
    ]
    expect(through).toBeTypeOf('function')
  })

  it('let no message be sent that does not name its tenant', () => {
    // @ts-expect-error it names none
    const nudge: EventNudge = { event_ids: ['msg_1'] }
    expect(nudge).not.toHaveProperty('tenant_id')
  })
})
