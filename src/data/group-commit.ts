import type { Bindings } from '../env'
import { log } from '../lib/log'

// A batch costs D1 about the same for one small change as for ten: a call, and a write to disk. So what requests of one
// isolate commit while a batch is under way goes with the next, all in one. A batch is one transaction, and one request's
// refusal undoes the others': then each says its own once more, by itself, and hears what that comes to.

/** So many requests at most share a batch; where more wait, another goes beside it. */
const MOST_MEMBERS = 50
/** Who waits looks again after a millisecond, and then after twice as long each time, up to this. */
const LOOK_AGAIN_MS = 16
/** A batch under way for so long may have died with the request that sent it; the next does not wait for it. */
const GIVEN_UP_MS = 1_000
/** Who sends for the others stops in good time: work after an answer is cut off after 30 s. */
const TURN_MS = 5_000
/** Nobody waits longer to be told what became of a batch. */
const PATIENCE_MS = 25_000

/** What D1 answered to some statements, and how far it had come by then. */
export type Written = { results: D1Result[]; bookmark: string | null }

type Outcome = { written: Written } | { error: unknown } | { alone: true }
type Member = { statements: D1PreparedStatement[]; outcome: Outcome | null }
type Lane = { since: number }
/** Opens a session at the primary. */
type Opening = () => D1DatabaseSession

/** The changes of one isolate that wait to be written, and the batches under way. */
class Group {
  readonly #waiting: Member[] = []
  readonly #lanes = new Set<Lane>()

  add(member: Member): void {
    this.#waiting.push(member)
  }

  /** Whether a member waits for which nobody sends. */
  lacksSender(member: Member): boolean {
    if (!this.#waiting.includes(member)) return false
    const after = Date.now() - GIVEN_UP_MS
    return this.#waiting.length > MOST_MEMBERS || ![...this.#lanes].some(({ since }) => since > after)
  }

  /** Sends what waits, batch after batch, and calls `settled` once the sender's own is; never throws. */
  async send(open: Opening, own: Member, settled: () => void): Promise<void> {
    const until = Date.now() + TURN_MS
    const lane = { since: 0 }
    this.#lanes.add(lane)
    while (this.#waiting.length > 0 && Date.now() < until) {
      lane.since = Date.now()
      await write(open, this.#waiting.splice(0, MOST_MEMBERS))
      if (own.outcome) settled()
    }
    this.#lanes.delete(lane)
  }
}

async function write(open: Opening, members: readonly Member[]): Promise<void> {
  try {
    const session = open()
    const results = await session.batch(members.flatMap(({ statements }) => statements))
    const bookmark = session.getBookmark()
    let at = 0
    for (const member of members) {
      const { length } = member.statements
      member.outcome = { written: { results: results.slice(at, at + length), bookmark } }
      at += length
    }
  } catch (error) {
    // Of any other failure nobody knows whether the batch was written.
    const again = members.length > 1 && isRefusal(error)
    if (again) log.info('batch_divided', { members: members.length, cause: String(error) })
    for (const member of members) member.outcome = again ? { alone: true } : { error }
  }
}

/** Whether SQLite itself refused a statement, and so rolled the batch back: of these alone anybody may make a refusal. */
const isRefusal = (error: unknown): boolean =>
  error instanceof Error && /\bSQLITE_[A-Z]+|\bguard:\d|constraint failed/.test(error.message)

const groups = new WeakMap<Bindings, Group>()

function groupOf(env: Bindings): Group {
  const group = groups.get(env) ?? new Group()
  groups.set(env, group)
  return group
}

/**
 * Writes one request's statements, all of them or none, together with what other requests of this isolate write at the
 * moment; rejects with what D1 said of these alone. `defer` keeps the sender going after its own answer.
 */
export async function batchWithOthers(
  env: Bindings,
  open: Opening,
  statements: D1PreparedStatement[],
  defer: (work: Promise<unknown>) => void,
): Promise<Written> {
  const outcome = await outcomeOf(groupOf(env), open, statements, defer)
  if ('written' in outcome) return outcome.written
  if ('error' in outcome) throw outcome.error
  const session = open()
  return { results: await session.batch(statements), bookmark: session.getBookmark() }
}

/**
 * No other request's promise is awaited: it may be gone before that is settled, and what follows would run in its name.
 * Each looks for itself.
 */
async function outcomeOf(
  group: Group,
  open: Opening,
  statements: D1PreparedStatement[],
  defer: (work: Promise<unknown>) => void,
): Promise<Outcome> {
  const until = Date.now() + PATIENCE_MS
  const mine: Member = { statements, outcome: null }
  const { promise: settled, resolve } = Promise.withResolvers<void>()
  group.add(mine)
  for (let wait = 1; ; wait = Math.min(2 * wait, LOOK_AGAIN_MS)) {
    if (group.lacksSender(mine)) defer(group.send(open, mine, resolve))
    await within(settled, wait)
    if (mine.outcome) return mine.outcome
    if (Date.now() > until) throw new Error('nobody knows what became of the batch')
  }
}

async function within(work: Promise<void>, milliseconds: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, milliseconds)
  await Promise.race([work, late])
  clearTimeout(timer)
}
