import { readdirSync, readFileSync } from 'node:fs'
import { timeOf } from '../webhooks/sender.ts'
import type { Readers, Source } from './readers.ts'
import type { Read } from './reading.ts'
import { makeChat, ours, requestOf, type Stage } from './stage.ts'
import { every, freshTag, sleep, wordOf } from './words.ts'

/** Something that many follow: the service, or what it is measured beside. */
export type Fan = {
  name: string
  processes: number[]
  /** What the subscriber with that number asks. */
  subscribers: (count: number) => Source
  /** Publishes so many words, one every `everyMs`. */
  publish: (words: number, everyMs: number, word: (n: number) => string) => Promise<void>
  stop: () => Promise<void>
}

/** What it cost: `cpu` microseconds a word and subscriber, `memory` kB a subscriber. */
export type Fanned = {
  name: string
  subscribers: number
  read: Read
  cpu: number
  memory: number
  openMs: number
}

export type FanOrder = { subscribers: number; perSecond: number; milliseconds: number }

/** The first words are not counted: whatever is compiled, looked up or opened at first is not what is measured. */
const WARM_UP_MS = 4_000

/** So many subscribers of one fan, and words at a steady pace. */
export async function measureFan(readers: Readers, fan: Fan, order: FanOrder): Promise<Fanned> {
  const { subscribers, perSecond, milliseconds } = order
  const everyMs = 1_000 / perSecond
  const before = memoryOf(fan.processes)
  const started = performance.now()
  await readers.open(fan.subscribers(subscribers))
  const openMs = performance.now() - started
  // What was opened comes to rest.
  await sleep(1_000)
  const memory = (memoryOf(fan.processes) - before) / subscribers
  const tag = freshTag()
  const skip = Math.round(WARM_UP_MS / everyMs)
  const words = skip + Math.round(milliseconds / everyMs)
  await readers.prepare(tag, words, skip)
  const spent = timeOf(fan.processes)
  await fan.publish(words, everyMs, (n) => wordOf(tag, n))
  const read = await readers.finish(15_000)
  const cpu = (timeOf(fan.processes) - spent) / (words * subscribers)
  await readers.close()
  await sleep(500)
  return { name: fan.name, subscribers, read, cpu, memory, openMs }
}

/** Resident kB of processes and all that they have started, what they share counted once; NaN where the system does not tell. */
export function memoryOf(processes: readonly number[]): number {
  try {
    const known = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid))
    const parents = new Map(known.map((pid) => [Number(pid), parentOf(pid)]))
    const isOne = (pid: number): boolean =>
      processes.includes(pid) || (pid > 1 && isOne(parents.get(pid) ?? 0))
    return known.filter((pid) => isOne(Number(pid))).reduce((sum, pid) => sum + sizeOf(pid), 0)
  } catch {
    return Number.NaN
  }
}

const parentOf = (pid: string): number =>
  Number(/^\d+ \(.*\) \S+ (\d+)/.exec(read(`/proc/${pid}/stat`))?.[1] ?? 0)
const sizeOf = (pid: string): number =>
  Number(/^Pss: *(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0)

/** Nothing for what has ended since the directory was read. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** One chat, which its readers follow as server-sent events; its agent says the words. */
export async function chatFan(stage: Stage): Promise<Fan> {
  const chat = await makeChat(stage)
  const request = requestOf(stage, 'GET', `${chat.path}/stream`)
  return {
    name: 'Causeway',
    processes: ours(),
    subscribers: (count) => ({ port: stage.port, requests: Array.from({ length: count }, () => request) }),
    publish: async (words, everyMs, word) => {
      stage.agents.scripts.set(chat.agent, { words, everyMs, word })
      await stage.call('POST', `${chat.path}/messages`, { content: 'Count, please' })
      await every(everyMs, words, () => {})
    },
    stop: async () => {},
  }
}
