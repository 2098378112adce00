import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { Access } from '../../src/domains/chat/room/access'
import type { Caller } from '../../src/domains/chat/room/caller'
import { call, callJson, makeWorld } from '../world'
import { chatWith } from './kit'

/** D1 whose answers out of `table` are held back, as they were when it was asked, until `release`. */
function holdingD1(table: string) {
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  const prepare = (sql: string) => ({
    bind: (...params: unknown[]) => {
      const bound = env.DB.prepare(sql).bind(...params)
      const raw = async () => {
        const rows = await bound.raw()
        if (!sql.includes(`from "${table}"`)) return rows
        ask()
        await held
        return rows
      }
      return { raw }
    },
  })
  return { DB: { prepare } as unknown as D1Database, asked, release }
}

describe('what the object knows of its chat', () => {
  it('is not what it was told to forget while it was being read', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const { DB, asked, release } = holdingD1('chats')
    const access = new Access({ ...env, DB }, chat.ids)
    const caller: Caller = {
      ...{ key: 'user', kind: 'user', id: chat.person.user.id, user_id: chat.person.user.id },
      ...{ session_id: null, role: 'member', scopes: ['chats:read'] },
    }
    const reading = access.chat(caller).catch((error: unknown) => error)
    await asked
    await call('DELETE', chat.path, { token: chat.person.token })
    access.forget()
    release()
    expect(await reading).toMatchObject({ code: 'not_found' })
    await expect(access.chat(caller)).rejects.toMatchObject({ code: 'not_found' })
  })

  it('of the agent likewise', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
    const { DB, asked, release } = holdingD1('agents')
    const access = new Access({ ...env, DB }, chat.ids)
    const reading = access.agent().catch((error: unknown) => error)
    await asked
    const body = { is_active: false }
    await callJson('PATCH', `/api/v1/agents/${chat.agentId}`, { token: world.admin.token, body })
    access.forget()
    release()
    expect(await reading).toMatchObject({ code: 'agent_inactive' })
  })
})
