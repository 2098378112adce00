import { describe, expect, it } from 'vitest'
import { makeWorld } from '../world'
import { chatWith } from './kit'

describe('a message that is sent again', () => {
  it('is answered by its own run: what was said after it is not read', async () => {
    const chat = await chatWith(await makeWorld(), { name: 'Echo', kind: 'echo' })
    const first = await chat.exchange('one', { client_message_id: 'first' })
    // More than is read at once.
    for (let i = 0; i < 12; i += 1) await chat.exchange(`${i} two three four five six seven eight`)
    const read = await chat.inObject((object) => {
      const { log } = Reflect.get(object, 'room')
      const after = log.after.bind(log)
      const froms: number[] = []
      log.after = (seq: number, ...rest: unknown[]) => {
        froms.push(seq)
        return after(seq, ...rest)
      }
      return froms
    })
    const again = await chat.exchange('one', { client_message_id: 'first' })
    expect(again.map(({ type }) => type)).toEqual(first.map(({ type }) => type))
    expect(await chat.inObject(() => read.length)).toBe(1)
  })
})
