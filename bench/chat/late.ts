import { percentiles } from '../rounds.ts'
import { timeOf } from '../webhooks/sender.ts'
import { makeChat, ours, read, type Stage } from './stage.ts'
import { every, sleep } from './words.ts'

/** What it took to join a chat whose answer was so long already, and went on. */
export type Late = {
  /** Characters of the answer so far. */
  length: number
  /** Milliseconds until all of it was there, bytes that it took, and microseconds of the service’s processor time. */
  joined: { p50: number; p99: number; bytes: number; cpu: number }
  /** The same for who had been there until just before. */
  back: { p50: number; p99: number; bytes: number; cpu: number }
}

const TEXT = 'It was a dark and stormy night; the rain fell in torrents, except at occasional intervals. '

/** Joins answers of several lengths, so many times each, while they go on. */
export async function measureLate(stage: Stage, lengths: number[], times: number): Promise<Late[]> {
  const all: Late[] = []
  for (const length of lengths) all.push(await late(stage, length, times))
  return all
}

async function late(stage: Stage, length: number, times: number): Promise<Late> {
  const chat = await makeChat(stage)
  const block = TEXT.repeat(Math.ceil(8_192 / TEXT.length))
  const blocks = Math.ceil(length / block.length)
  let said = 0
  const word = (n: number) => {
    said = n
    return n < blocks ? block : `tick${n} `
  }
  // All of it soon, then a word every 20 ms for as long as it takes.
  stage.agents.scripts.set(chat.agent, { words: blocks + 3_000, everyMs: 20, word })
  await stage.call('POST', `${chat.path}/messages`, { content: 'Begin' })
  while (said < blocks + 5) await sleep(20)
  const follow = `${chat.path}/stream`
  /** Reads until a word comes that was said after this began; answers with how long that took, and how much it was. */
  const join = async (from: string) => {
    const started = performance.now()
    const now = said
    const text = await read(stage, 'GET', follow + from, undefined, (got) => got.includes(`tick${now}`))
    return { ms: performance.now() - started, text }
  }
  const { text } = await join('')
  const last = [...text.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1]
  const measure = async (from: () => string) => {
    const taken: number[] = []
    let bytes = 0
    const before = timeOf(ours())
    await every(50, times, () => {})
    const idle = timeOf(ours()) - before
    const start = timeOf(ours())
    const begun = performance.now()
    for (let i = 0; i < times; i += 1) {
      const joined = await join(from())
      taken.push(joined.ms)
      bytes = Buffer.byteLength(joined.text)
    }
    // The answer itself costs something all the while.
    const share = (performance.now() - begun) / (50 * times)
    const cpu = (timeOf(ours()) - start - idle * share) / times
    return { ...percentiles(taken), bytes, cpu }
  }
  const joined = await measure(() => '')
  const fresh = await join('')
  const cursor = [...fresh.text.matchAll(/^id: (\S+)$/gm)].at(-1)?.[1] ?? last
  const back = await measure(() => `?last_event_id=${cursor}`)
  await stage.call('POST', `${chat.path}/stop`, {})
  return { length: blocks * block.length, joined, back }
}
