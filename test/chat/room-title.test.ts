import { describe, expect, it } from 'vitest'
import { callJson, makeWorld } from '../world'
import { chatWith } from './kit'

const echo = { name: 'Echo', kind: 'echo' }

describe('a title that was given', () => {
  it('is in the snapshot of a chat in which nothing was said yet', async () => {
    const chat = await chatWith(await makeWorld(), echo, { title: 'Plans' })
    const reader = await chat.follow()
    expect((await reader.next())?.data).toMatchObject({ title: 'Plans', messages: [] })
    await reader.leave()
  })

  it('stays where something was kept before the first message', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo, { title: 'Plans' })
    // Who reads by a share that ends has the object note when.
    const share = { user_id: world.viewer.user.id, role: 'viewer', expires_at: '2099-01-01T00:00:00Z' }
    const shared = await callJson('PUT', `${chat.path}/shares`, { token: chat.person.token, body: share })
    expect(shared.status).toBe(200)
    const socket = await chat.socket('', world.viewer.token)
    await socket.until('snapshot')
    expect(await chat.inObject((_object, { storage }) => storage.sql.databaseSize)).toBeGreaterThan(0)
    await chat.exchange('Where is my parcel?')
    const types = (await chat.log()).map(({ type }) => type)
    expect(types).toContain('done')
    expect(types).not.toContain('title')
    const reader = await chat.follow()
    expect((await reader.next())?.data).toMatchObject({ title: 'Plans' })
    await reader.leave()
    socket.ws.close()
  })
})
