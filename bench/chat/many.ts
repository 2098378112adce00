import { timeOf } from '../webhooks/sender.ts'
import type { Read } from './reading.ts'
import { type Chat, makeChat, ours, requestOf, type Stage } from './stage.ts'
import { freshTag, sleep, wordOf } from './words.ts'

/** Many answers at once, each to its own reader; `cpu` is microseconds of the service’s processor time a word. */
export type Many = { name: string; chats: number; perSecond: number; read: Read; cpu: number }

export type ManyOrder = { chats: number; perSecond: number; milliseconds: number; floorPort: number }

/** So many chats at once, and then so many bare pipes of the same agents. */
export async function measureMany(stage: Stage, order: ManyOrder): Promise<Many[]> {
  const chats: Chat[] = []
  for (let i = 0; i < order.chats; i += 1) chats.push(await makeChat(stage))
  const asChats = chats.map(({ path }) =>
    requestOf(stage, 'POST', `${path}/messages`, { body: { content: 'Count' }, headers: STREAM }),
  )
  const asPipes = chats.map(({ agent }) =>
    requestOf(stage, 'POST', '/pipe', { body: { url: stage.agents.url + agent }, headers: STREAM }),
  )
  const names = chats.map(({ agent }) => agent)
  return [
    await measure(stage, order, 'Causeway', stage.port, names, asChats),
    await measure(stage, order, 'bare pipes', order.floorPort, names, asPipes),
  ]
}

const STREAM = { Accept: 'text/event-stream' }

async function measure(
  stage: Stage,
  { chats, perSecond, milliseconds }: ManyOrder,
  name: string,
  port: number,
  agents: string[],
  requests: string[],
): Promise<Many> {
  const tag = freshTag()
  const everyMs = 1_000 / perSecond
  const skip = perSecond
  const words = skip + Math.round(milliseconds / everyMs)
  for (const agent of agents) stage.agents.scripts.set(agent, { words, everyMs, word: (n) => wordOf(tag, n) })
  const before = timeOf(ours())
  // Whoever reads a stream of its own has to be there from its first word on.
  await stage.readers.prepare(tag, words, skip)
  await stage.readers.open({ port, requests }, chats)
  const read = await stage.readers.finish(words * everyMs + 15_000)
  const cpu = (timeOf(ours()) - before) / (words * chats)
  await stage.readers.close()
  await sleep(500)
  return { name, chats, perSecond, read, cpu }
}
