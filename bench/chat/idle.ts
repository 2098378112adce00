import { timeOf } from '../webhooks/sender.ts'
import { makeChat, ours, read, requestOf, type Stage } from './stage.ts'
import { sleep } from './words.ts'

/** Milliseconds of processor time in ten seconds, with as many sockets and without; whether the object slept. */
export type Idle = { sockets: number; with: number; without: number; slept: boolean; wakeMs: number }

/** The runtime puts an object to sleep that nothing has happened to for ten seconds. */
const ASLEEP_MS = 13_000
const LOOK_MS = 10_000

/** A chat with so many idle WebSockets. */
export async function measureIdle(floorPort: number, stage: Stage, sockets: number): Promise<Idle> {
  const chat = await makeChat(stage)
  await sleep(2_000)
  const spent = async () => {
    const before = timeOf(ours())
    await sleep(LOOK_MS)
    return (timeOf(ours()) - before) / 1_000
  }
  const without = await spent()
  const upgrade = { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Version': '13' }
  const request = requestOf(stage, 'GET', `${chat.path}/ws`, {
    headers: { ...upgrade, 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==' },
  })
  const requests = Array.from({ length: sockets }, () => request)
  await stage.readers.open({ port: stage.port, requests, status: 101 })
  const life = await lifeOf(floorPort, stage, chat.id)
  await sleep(ASLEEP_MS)
  const after = await spent()
  const started = performance.now()
  const slept = (await lifeOf(floorPort, stage, chat.id)) !== life
  const wakeMs = performance.now() - started
  await stage.readers.close()
  return { sockets, with: after, without, slept, wakeMs }
}

/** Names this life of the chat’s object: another one after it has slept. */
async function lifeOf(floorPort: number, { tenant }: Stage, chatId: string): Promise<string> {
  return read({ port: floorPort, token: '' }, 'GET', `/life/${tenant}/${chatId}`)
}
