import { afterEach, expect, it, vi } from 'vitest'
import { tenantDatabase } from '../../src/data/database'
import { users } from '../../src/domains/identity/users/table'
import { describeError, log } from '../../src/lib/log'
import { makeWorld } from '../world'

afterEach(() => vi.restoreAllMocks())

/** What Drizzle throws holds the statement's values: the person's address and hash, here. */
async function refusedStatement(): Promise<unknown> {
  const { tenant, admin, ctx } = await makeWorld()
  const row = { ...admin.user, password_hash: '$scrypt$of-somebody\n    at secrets', tenant_id: tenant.id }
  return tenantDatabase(ctx.env, tenant.id)
    .insert(users)
    .values(row)
    .then(
      () => null,
      (error: unknown) => error,
    )
}

it('a failed statement is described without its values, with its stack and its cause', async () => {
  const error = await refusedStatement()
  expect(String(error)).toContain('$scrypt$of-somebody')
  const described = describeError(error)
  expect(described).not.toContain('of-somebody')
  expect(described).not.toContain('secrets')
  expect(described).not.toMatch(/@(?!vitest)/)
  expect(described).toContain('Failed query: insert into "users"')
  expect(described).toContain('UNIQUE constraint failed')
  expect(described).toMatch(/\n {4}at /)
})

it('no line of the log holds the values of a statement, whoever wrote it', async () => {
  const error = await refusedStatement()
  log.setLevel('error')
  const printed = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  log.error('something_failed', { cause: String(error) })
  expect(printed).toHaveBeenCalledOnce()
  const line = JSON.parse(String(printed.mock.calls[0]?.[0])) as { cause: string }
  expect(line.cause).toMatch(/^Error: Failed query: insert into "users"[^\n]*$/)
})
