import {
  latestQuestion,
  type Upstream,
  type UpstreamEvent,
  UpstreamFailure,
  type UpstreamMessage,
} from '../../../src/domains/chat/agents/upstreams/upstream'

// An agent whose answers follow from a number in the question: what it says, when, and how it ends is the same each
// time, whoever asks and however often the object was killed meanwhile.

export type Random = () => number

/** A small generator of numbers that a seed repeats (mulberry32). */
export function random(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export const below = (next: Random, n: number): number => Math.floor(next() * n)

export const oneOf = <T>(next: Random, list: readonly T[]): T | undefined => list[below(next, list.length)]

type Step = { waitMs: number; event: UpstreamEvent }
export type Script = { steps: Step[]; end: 'done' | 'fails' | 'throws' | 'hangs'; text: string }

/** A piece of text: words, what JSON escapes, what UTF-8 and UTF-16 cut in the middle, nothing at all, far too much. */
function piece(next: Random, n: number): string {
  const roll = next()
  if (roll < 0.6) return `word${n} `
  if (roll < 0.7) return '"\\\n\u0001\u2028</script>'
  if (roll < 0.78) return 'é漢😀'
  if (roll < 0.84) return '😀'.slice(0, 1)
  if (roll < 0.9) return '😀'.slice(1)
  if (roll < 0.93) return ''
  return `${'z'.repeat(below(next, roll < 0.99 ? 9_000 : 200_000))} `
}

export function scriptOf(seed: number): Script {
  const next = random(seed)
  const roll = next()
  const end = roll < 0.7 ? 'done' : roll < 0.8 ? 'hangs' : roll < 0.9 ? 'fails' : 'throws'
  const steps: Step[] = []
  const count = below(next, 14)
  for (let n = 0; n < count; n += 1) {
    const waitMs = next() < 0.5 ? 0 : 1 + below(next, 5)
    const event: UpstreamEvent =
      next() < 0.9
        ? { kind: 'delta', text: piece(next, n) }
        : { kind: 'status', description: `step ${n}`, level: 'info' }
    steps.push({ waitMs, event })
  }
  const text = steps.map(({ event }) => (event.kind === 'delta' ? event.text : '')).join('')
  return { steps, end, text: text.toWellFormed() }
}

/** A question that is answered by the script of a number; some are longer than an event. */
export const questionOf = (seed: number): string =>
  `answer ${seed}${seed % 17 === 0 ? ` ${'q'.repeat(6000)}` : ''}`

/** The number in a question. */
export const seedIn = (question: string): number => Number(/^answer (\d+)/.exec(question)?.[1] ?? 0)

/** The agent; `told` is given what each run was told. */
export function scripted(told: Map<string, UpstreamMessage[]>): Upstream {
  return async function* (_agent, request) {
    told.set(request.run_id, request.messages)
    const { steps, end } = scriptOf(seedIn(latestQuestion(request)))
    for (const { waitMs, event } of steps) {
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
      request.signal.throwIfAborted()
      yield event
    }
    if (end === 'fails') throw new UpstreamFailure('upstream_reset', 'The agent broke off', true)
    if (end === 'throws') throw new Error('the adapter has a bug')
    if (end === 'hangs')
      await new Promise((_, reject) => {
        request.signal.addEventListener('abort', () => reject(request.signal.reason))
      })
  }
}
