import path from 'node:path'
import { bundle } from '../bundle.ts'
import { workerdTime } from '../cpu.ts'
import { fire } from '../load.ts'
import { median } from '../rounds.ts'
import { ORIGIN, portOf, startHops } from '../runtime.ts'

/** What one hop costs: workerd's CPU beyond that of an empty request, and the time that its one thread is taken. */
export type HopCost = { what: string; cpu: number; taken: number }

const HOPS: [name: string, what: string][] = [
  ['object', 'a call to one of a hundred objects'],
  ['objectWrite', 'the same, which writes a row of its own'],
  ['objectAlarm', 'the same, which sets its alarm'],
  ['read', 'a row read from D1'],
  ['write', 'a row written to D1'],
  ['batch', 'a batch of five rows'],
  ['many', 'twenty rows in one statement'],
  ['queue', 'a message to a queue, consumed'],
  ['fetch', 'a request to the receiver'],
  ['deliver', 'a call to an object which claims, sends and records'],
]

/** Each hop on 16 connections for so many milliseconds, with nothing around it. */
export async function measureHops(
  directory: string,
  receiver: string,
  milliseconds: number,
): Promise<HopCost[]> {
  const { file } = bundle(
    'bench/workers/hops.ts',
    path.join(directory, 'hops'),
    'bench/workers/wrangler.toml',
  )
  const miniflare = startHops(path.join(directory, 'hops-state'), file, receiver)
  try {
    const port = await portOf(miniflare, 'hops')
    const time = workerdTime()
    const measure = async (name: string, duration: number) => {
      const shot = { port, method: 'GET', url: `${ORIGIN}/${name}`, headers: {}, status: 200 }
      const before = time?.() ?? Number.NaN
      const { answers, seconds, refused } = await fire({ shot, connections: 16, milliseconds: duration })
      if (refused !== null) throw new Error(`the hop ${name} was answered ${refused}`)
      return { cpu: ((time?.() ?? Number.NaN) - before) / answers, taken: (seconds * 1e6) / answers }
    }
    const middle = async (name: string) => {
      await measure(name, milliseconds / 2)
      const rounds = [1, 2, 3].map(() => () => measure(name, milliseconds))
      const costs: Omit<HopCost, 'what'>[] = []
      for (const round of rounds) costs.push(await round())
      return { cpu: median(costs.map(({ cpu }) => cpu)), taken: median(costs.map(({ taken }) => taken)) }
    }
    await measure('setup', 50)
    const nothing = await middle('nothing')
    const costs: HopCost[] = []
    for (const [name, what] of HOPS) {
      const { cpu, taken } = await middle(name)
      costs.push({ what, cpu: cpu - nothing.cpu, taken: taken - nothing.taken })
    }
    return costs
  } finally {
    await miniflare.dispose()
  }
}
