import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import type { Context } from '../../src/data/context'
import { removal, revise } from '../../src/data/revise'
import { apiKeys } from '../../src/domains/identity/api-keys/table'
import { users } from '../../src/domains/identity/users/table'
import { newId } from '../../src/lib/ids'
import { makeWorld } from '../world'

const refusalOf = (work: Promise<unknown>) => expect(work).rejects

/** Adds `word` to the words in the user's name. */
const addWord = (ctx: Context, id: string, word: string) =>
  revise(ctx, users, 'user', id, (row) => ({
    set: { full_name: [row.full_name, word].filter(Boolean).join(' ') },
    audit: { action: 'user.update', resource: 'user', resource_id: id },
  }))

async function versionOf(ctx: Context, id: string) {
  return env.DB.prepare('select version, full_name from users where tenant_id = ? and id = ?')
    .bind(ctx.tenant.id, id)
    .first<{ version: number; full_name: string | null }>()
}

async function auditCount(ctx: Context) {
  const row = await env.DB.prepare('select count(*) as n from audit_log where tenant_id = ?')
    .bind(ctx.tenant.id)
    .first<{ n: number }>()
  return row?.n ?? 0
}

describe('revise', () => {
  it('answers with the row as it stands afterwards', async () => {
    const { ctx, member } = await makeWorld()
    const row = await addWord(ctx, member.user.id, 'one')
    expect(row).toMatchObject({ full_name: 'one', version: 2 })
    expect(await versionOf(ctx, member.user.id)).toEqual({ full_name: 'one', version: 2 })
  })

  it('writes nothing where the row is as it should be, and puts nothing on record', async () => {
    const { ctx, member } = await makeWorld()
    await addWord(ctx, member.user.id, 'one')
    const before = await auditCount(ctx)
    const row = await revise(ctx, users, 'user', member.user.id, () => ({
      set: { full_name: 'one' },
      audit: { action: 'user.update', resource: 'user', resource_id: member.user.id },
    }))
    expect(row).toMatchObject({ full_name: 'one', version: 2 })
    expect(await versionOf(ctx, member.user.id)).toEqual({ full_name: 'one', version: 2 })
    expect(await auditCount(ctx)).toBe(before)
  })

  it('loses nothing of changes at the same time', async () => {
    const { ctx, member } = await makeWorld()
    const words = ['a', 'b', 'c', 'd']
    await Promise.all(words.map((word) => addWord(ctx, member.user.id, word)))
    const row = await versionOf(ctx, member.user.id)
    expect(row?.full_name?.split(' ').sort()).toEqual(words)
    expect(row?.version).toBe(5)
  })

  it('lets one of several with the same If-Match through, and writes nothing of the others', async () => {
    const { ctx, member } = await makeWorld()
    const before = await auditCount(ctx)
    const settled = await Promise.allSettled(
      ['a', 'b', 'c'].map((word) => addWord({ ...ctx, ifMatch: 1 }, member.user.id, word)),
    )
    expect(settled.filter((one) => one.status === 'fulfilled')).toHaveLength(1)
    for (const one of settled)
      if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'precondition_failed' })
    expect((await versionOf(ctx, member.user.id))?.version).toBe(2)
    expect(await auditCount(ctx)).toBe(before + 1)
  })

  it('makes the version a condition of the write, not a check before it', async () => {
    const { ctx, member } = await makeWorld()
    let runs = 0
    const row = await revise(ctx, users, 'user', member.user.id, async (read) => {
      // Somebody else writes between the read and the write, the first time.
      if (runs++ === 0) await addWord(ctx, member.user.id, 'else')
      return { set: { full_name: `${read.full_name ?? ''}!` } }
    })
    expect(runs).toBe(2)
    expect(row.full_name).toBe('else!')
    await refusalOf(
      revise({ ...ctx, ifMatch: 3 }, users, 'user', member.user.id, async () => {
        await addWord(ctx, member.user.id, 'again')
        return { set: { full_name: 'lost' } }
      }),
    ).toMatchObject({ code: 'precondition_failed' })
    expect((await versionOf(ctx, member.user.id))?.full_name).toBe('else! again')
  })

  it('refuses a stale version, a tag of another kind, and a row that is not there', async () => {
    const { ctx, member } = await makeWorld()
    const id = member.user.id
    await refusalOf(addWord({ ...ctx, ifMatch: 2 }, id, 'x')).toMatchObject({ code: 'precondition_failed' })
    await refusalOf(addWord({ ...ctx, ifMatch: -1 }, id, 'x')).toMatchObject({ code: 'precondition_failed' })
    await refusalOf(addWord(ctx, newId(ctx.now), 'x')).toMatchObject({ code: 'not_found' })
  })

  it('does not find the row of another tenant', async () => {
    const { ctx } = await makeWorld()
    const other = await makeWorld()
    await refusalOf(addWord(ctx, other.member.user.id, 'x')).toMatchObject({ code: 'not_found' })
    expect((await versionOf(other.ctx, other.member.user.id))?.version).toBe(1)
  })
})

describe('removal', () => {
  const remove = (ctx: Context, id: string) =>
    commit(ctx, {
      statements: [removal(ctx, apiKeys, 'API key', id)],
      result: undefined,
      audit: { action: 'api_key.delete', resource: 'api_key', resource_id: id },
    })
  const keyOf = (ctx: Context) =>
    env.DB.prepare('select id from api_keys where tenant_id = ?').bind(ctx.tenant.id).first<string>('id')

  it('removes the row; again it is not found, and writes nothing', async () => {
    const { ctx } = await makeWorld()
    const id = (await keyOf(ctx)) ?? ''
    await remove(ctx, id)
    expect(await keyOf(ctx)).toBeNull()
    const before = await auditCount(ctx)
    await refusalOf(remove(ctx, id)).toMatchObject({ code: 'not_found' })
    expect(await auditCount(ctx)).toBe(before)
  })

  it('refuses a stale version, and another tenant’s row', async () => {
    const { ctx } = await makeWorld()
    const other = await makeWorld()
    const id = (await keyOf(ctx)) ?? ''
    await refusalOf(remove({ ...ctx, ifMatch: 7 }, id)).toMatchObject({ code: 'precondition_failed' })
    await refusalOf(remove(other.ctx, id)).toMatchObject({ code: 'not_found' })
    expect(await keyOf(ctx)).toBe(id)
    await remove({ ...ctx, ifMatch: 1 }, id)
    expect(await keyOf(ctx)).toBeNull()
  })
})
