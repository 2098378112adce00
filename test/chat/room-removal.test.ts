import { describe, expect, it } from 'vitest'
import { callJson, makeWorld } from '../world'
import { chatWith } from './kit'

const echo = { name: 'Echo', kind: 'echo' }

/** Does `meanwhile` when the object has let somebody in and looks the next thing up. */
async function meanwhile(
  room: { access: object },
  verb: string,
  work: () => Promise<unknown>,
): Promise<void> {
  const original = Reflect.get(room.access, verb) as (...args: unknown[]) => Promise<unknown>
  Reflect.set(room.access, verb, async (...args: unknown[]) => {
    const found = await original.apply(room.access, args)
    Reflect.set(room.access, verb, original)
    await work()
    return found
  })
}

describe('a chat that is deleted', () => {
  it('takes no message of who was let in before, and keeps nothing', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('one')
    await chat.inObject((object) =>
      meanwhile(Reflect.get(object, 'room'), 'files', () =>
        callJson('DELETE', chat.path, { token: chat.person.token }),
      ),
    )
    const answer = await chat.post({ content: 'two' })
    expect(answer.status).toBe(404)
    expect(await chat.inObject((object) => Reflect.get(object, 'room').store.exists)).toBe(false)
  })

  it('sends away who was let in before and follows after', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('one')
    await chat.inObject((object) => {
      const streams = Reflect.get(object, 'streams')
      const admit = streams.admit.bind(streams)
      streams.admit = async (open: () => unknown) => {
        streams.admit = admit
        await callJson('DELETE', chat.path, { token: chat.person.token })
        return admit(open)
      }
    })
    const socket = await chat.socket()
    expect((await socket.closed).code).toBe(4403)
    expect(socket.seen).toEqual([])
  })

  it('is deleted, whatever its object can be told: that finds out by itself', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.exchange('one')
    await chat.inObject((object) => {
      Reflect.get(object, 'room').remove = async () => {
        throw new Error('cut off')
      }
    })
    expect((await callJson('DELETE', chat.path, { token: chat.person.token })).status).toBe(204)
    expect((await chat.read()).status).toBe(404)
    await chat.inObject((object) => {
      const room = Reflect.get(object, 'room')
      Reflect.deleteProperty(room, 'remove')
      return room.duties.removal()
    })
    expect(await chat.inObject((object) => Reflect.get(object, 'room').store.exists)).toBe(false)
  })

  it('refuses nobody else: a right that is as it was is looked up again', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    await chat.inObject((object) => {
      const room = Reflect.get(object, 'room')
      return meanwhile(room, 'files', async () => room.rights.forget())
    })
    const events = await chat.exchange('one')
    expect(events.at(-1)?.type).toBe('done')
  })
})
