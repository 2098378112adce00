import { describe, expect, it } from 'vitest'
import { Ledger } from '../../src/domains/metering/meter/ledger'

const T = 1_700_000_000_000
let commits = 0
const revoke = (id: string, until: number | null = T + 900_000) => ({
  seq: ++commits,
  kind: 'session',
  id,
  until,
  data: null,
})
const ids = (ledger: Ledger, revision: number, now = T) =>
  ledger.since(revision, now).changes.map((change) => change.id)

describe('what changed', () => {
  it('is told from a revision on, oldest first', () => {
    const ledger = new Ledger()
    for (const id of ['a', 'b', 'c']) ledger.add(revoke(id))
    expect(ids(ledger, 0)).toEqual(['a', 'b', 'c'])
    expect(ids(ledger, 2)).toEqual(['c'])
    expect(ledger.since(3, T)).toEqual({ revision: 3, changes: [], more: false })
  })

  it('is told once where it changed again, as it is now', () => {
    const ledger = new Ledger()
    ledger.add({ ...revoke('t', null), kind: 'status', data: 'suspended' })
    ledger.add(revoke('t'))
    ledger.add({ ...revoke('t', null), kind: 'status', data: 'active' })
    expect(ledger.since(0, T).changes.map(({ revision, kind, data }) => [revision, kind, data])).toEqual([
      [2, 'session', null],
      [3, 'status', 'active'],
    ])
    expect(ledger.size).toBe(2)
  })

  it('is forgotten when nobody needs it any more', () => {
    const ledger = new Ledger()
    ledger.add(revoke('a', T + 1_000))
    ledger.add(revoke('b', null))
    expect(ids(ledger, 0, T + 1_000)).toEqual(['b'])
    expect(ledger.prune(T + 999)).toEqual([])
    expect(ledger.prune(T + 1_000).map(({ id }) => id)).toEqual(['a'])
    expect(ledger.size).toBe(1)
    expect(ledger.revision).toBe(2)
  })

  it('is told in parts where it is much', () => {
    const ledger = new Ledger()
    for (let i = 0; i < 4_500; i++) ledger.add(revoke(`s${i}`))
    const seen: string[] = []
    let [revision, more, answers] = [0, true, 0]
    while (more) {
      const news = ledger.since(revision, T)
      seen.push(...news.changes.map(({ id }) => id))
      ;({ revision, more } = news)
      answers += 1
    }
    expect(new Set(seen).size).toBe(4_500)
    expect([answers, revision]).toEqual([3, 4_500])
  })

  it('is told whole to an isolate that knows more than the Meter, for the Meter has lost it', () => {
    const ledger = new Ledger()
    ledger.add(revoke('a'))
    expect(ledger.since(7, T)).toMatchObject({ revision: 1, changes: [{ id: 'a' }] })
  })

  it('goes on where it was, also if the last was pruned', () => {
    const first = new Ledger()
    const kept = first.add(revoke('a', null))
    first.add(revoke('b', T))
    const second = new Ledger(kept ? [kept] : [], first.revision)
    expect(second.add(revoke('c'))?.revision).toBe(3)
    expect(ids(second, 1)).toEqual(['c'])
  })

  it('is told once though it is told again, and in the order of commit though it comes in another', () => {
    const ledger = new Ledger()
    const [suspended, active] = [revoke('t'), { ...revoke('t'), data: 'active' }]
    expect(ledger.add(active)?.revision).toBe(1)
    expect(ledger.add(suspended)).toBeNull()
    expect(ledger.add(active)).toBeNull()
    expect(ledger.since(0, T)).toEqual({ revision: 1, changes: [{ ...active, revision: 1 }], more: false })
    expect(ledger.all()).toHaveLength(1)
  })
})
