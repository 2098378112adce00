import { describe, expect, it } from 'vitest'
import type { CallReport, Turn } from '../../../src/domains/voice/calls/port'
import type { CallRow, CallStatus } from '../../../src/domains/voice/calls/table'
import { dueNext, endsAt, mustEnd, needsMore, transition } from '../../../src/domains/voice/calls/transition'

const T0 = Date.parse('2026-01-31T10:00:00.000Z')
const at = (seconds: number) => new Date(T0 + seconds * 1000).toISOString()

const call = (fields: Partial<CallRow> = {}): CallRow => ({
  ...{ tenant_id: 't', id: 'c', agent_id: 'a', campaign_id: null, contact_id: null },
  ...{ to: '+14155550123', from: '+15550100000', status: 'queued', provider: 'x', provider_call_id: null },
  ...{
    carrier_call_id: null,
    own: null,
    asked_at: null,
    started_at: null,
    ended_at: null,
    duration_seconds: null,
  },
  ...{ cost: null, credits_per_minute: 10, reserved: 10, extensions: 0, max_duration_seconds: 3600 },
  ...{ ended_reason: null, hang_up: false, turns: 0, recording: null, recording_file_id: null, metadata: {} },
  ...{ watched: false, next_at: at(0), failures: 0, created_by: null, version: 1 },
  ...{ created_at: at(0), updated_at: at(0) },
  ...fields,
})
const ringing = call({ status: 'ringing', asked_at: at(1) })
const talking = call({ status: 'in_progress', asked_at: at(1), started_at: at(5) })
const over = call({
  status: 'completed',
  started_at: at(5),
  ended_at: at(65),
  duration_seconds: 60,
  cost: 10,
})

const turn = (position: number): Turn => ({
  ...{ position, role: 'agent', text: `${position}` },
  ...{ started_at: at(6), ended_at: at(7) },
})
const now = T0 + 100_000

describe('a report of a call', () => {
  it.each<[CallStatus, CallStatus]>([
    ['ringing', 'queued'],
    ['ringing', 'ringing'],
    ['in_progress', 'ringing'],
    ['in_progress', 'in_progress'],
    ['completed', 'ringing'],
    ['completed', 'in_progress'],
    ['completed', 'completed'],
    ['completed', 'failed'],
    ['no_answer', 'in_progress'],
    ['failed', 'completed'],
  ])('of one that is %s, that it is %s, changes nothing', (status, said) => {
    const report: CallReport = { status: said, started_at: at(1), ended_at: at(2), ended_reason: 'busy' }
    expect(transition(call({ status, started_at: at(5) }), report, now)).toBeNull()
  })

  it('that it ended before it was known to have begun ends it, with the time that it lasted', () => {
    const next = transition(call(), { status: 'completed', started_at: at(10), ended_at: at(22.1) }, now)
    expect(next).toMatchObject({ started: true, ended: true })
    expect(next?.set).toMatchObject({
      ...{ status: 'completed', started_at: at(10), ended_at: at(22.1), duration_seconds: 13, cost: 3 },
      recording: 'pending',
    })
  })

  it('that it ended, without a word of its beginning, costs nothing', () => {
    const next = transition(ringing, { status: 'completed' }, now)
    expect(next).toMatchObject({ started: false, ended: true })
    expect(next?.set).toMatchObject({ duration_seconds: 0, cost: 0, started_at: null, recording: 'none' })
    expect(next?.set.next_at).toBeNull()
  })

  it('that nobody answered, of one that was answered, is a line that broke: nobody is called again', () => {
    const said: CallReport = { status: 'no_answer', ended_at: at(11), ended_reason: 'no_answer' }
    const broke = { status: 'failed', ended_reason: 'provider_error' }
    expect(transition(talking, said, now)?.set).toMatchObject(broke)
    expect(transition(ringing, { ...said, started_at: at(8) }, now)?.set).toMatchObject(broke)
    expect(transition(ringing, said, now)?.set).toMatchObject({ status: 'no_answer', started_at: null })
  })

  it('that it failed after it was answered is charged for what it lasted', () => {
    const next = transition(
      talking,
      { status: 'failed', ended_at: at(11), ended_reason: 'provider_error' },
      now,
    )
    expect(next?.set).toMatchObject({ status: 'failed', duration_seconds: 6, cost: 1 })
  })

  it('is not believed about times that can’t be: before the call, after now, an end before the beginning', () => {
    const early = transition(ringing, { status: 'in_progress', started_at: at(-500) }, now)
    expect(early?.set.started_at).toBe(at(0))
    const late = transition(talking, { status: 'completed', ended_at: at(5000) }, now)
    expect(late?.set).toMatchObject({ ended_at: at(100), duration_seconds: 95 })
    const turned = transition(talking, { status: 'completed', ended_at: at(2) }, now)
    expect(turned?.set).toMatchObject({ ended_at: at(5), duration_seconds: 0, cost: 0 })
    const nonsense = transition(talking, { status: 'completed', ended_at: 'yesterday' }, now)
    expect(nonsense?.set.ended_at).toBe(at(100))
  })

  it('has its turns in their order, each once; one with a gap before it waits', () => {
    const known = { ...talking, turns: 2 }
    const next = transition(known, { turns: [turn(3), turn(1), turn(2), turn(0)] }, now)
    expect(next?.turns.map(({ position }) => position)).toEqual([2, 3])
    expect(next?.set.turns).toBe(4)
    expect(transition(known, { turns: [turn(3)] }, now)).toBeNull()
    expect(transition(known, { turns: [turn(0), turn(1)] }, now)).toBeNull()
  })

  it('may bring what was said after the end, which stays as it is', () => {
    const next = transition(over, { status: 'in_progress', turns: [turn(0)] }, now)
    expect(next).toMatchObject({ started: false, ended: false, set: { turns: 1 } })
    expect(next?.set.status).toBeUndefined()
  })

  it('may bring the carrier’s id, once', () => {
    expect(transition(ringing, { carrier_call_id: 'v3:1' }, now)?.set).toEqual({ carrier_call_id: 'v3:1' })
    expect(transition({ ...ringing, carrier_call_id: 'v3:0' }, { carrier_call_id: 'v3:1' }, now)).toBeNull()
  })
})

describe('what is due for a call', () => {
  it('is looked at half a minute later at the latest, or when its provider asks for it', () => {
    expect(dueNext(talking, T0 + 10_000)).toBe(T0 + 40_000)
    expect(dueNext(talking, T0 + 10_000, { look_in_ms: 500 })).toBe(T0 + 10_500)
    expect(dueNext(talking, T0 + 10_000, { look_in_ms: 1e9 })).toBe(T0 + 40_000)
  })

  it('is the end of its ringing, of what it may last, and of what is held, to the millisecond', () => {
    expect(dueNext(ringing, T0 + 110_000)).toBe(T0 + 121_000)
    const short = { ...talking, max_duration_seconds: 30 }
    expect(dueNext(short, T0 + 20_000)).toBe(T0 + 35_000)
    expect(endsAt(talking)).toBe(T0 + 65_000)
    expect(endsAt({ ...talking, credits_per_minute: 0, reserved: 0 })).toBe(T0 + 3605_000)
    // A quarter of a minute before what is held runs out, more is.
    expect(dueNext(talking, T0 + 45_000)).toBe(T0 + 50_000)
    expect(needsMore(talking, T0 + 49_999)).toBe(false)
    expect(needsMore(talking, T0 + 50_000)).toBe(true)
    expect(needsMore({ ...talking, max_duration_seconds: 60 }, T0 + 64_000)).toBe(false)
  })

  it.each<[string, CallRow, number, boolean, CallReport | null]>([
    ['goes on', talking, 64.999, true, null],
    [
      'runs out of credit',
      talking,
      65,
      true,
      { status: 'completed', ended_at: at(65), ended_reason: 'insufficient_credit' },
    ],
    [
      'is late',
      talking,
      500,
      true,
      { status: 'completed', ended_at: at(65), ended_reason: 'insufficient_credit' },
    ],
    [
      'lasts as long as it may',
      { ...talking, max_duration_seconds: 60 },
      65,
      true,
      { status: 'completed', ended_at: at(65), ended_reason: 'max_duration' },
    ],
    [
      'is of a suspended tenant',
      talking,
      10,
      false,
      { status: 'completed', ended_at: at(10), ended_reason: 'tenant_suspended' },
    ],
    [
      'rings at a suspended tenant’s',
      ringing,
      10,
      false,
      { status: 'failed', ended_reason: 'tenant_suspended' },
    ],
    [
      'waits at a suspended tenant’s',
      call(),
      10,
      false,
      { status: 'failed', ended_reason: 'tenant_suspended' },
    ],
    ['rings', ringing, 120.999, true, null],
    ['rings too long', ringing, 121, true, { status: 'no_answer', ended_reason: 'no_answer' }],
    ['waits', call(), 899, true, null],
    ['waits too long', call(), 900, true, { status: 'failed', ended_reason: 'provider_error' }],
  ])('one that %s', (_, row, seconds, active, expected) => {
    expect(mustEnd(row, T0 + seconds * 1000, active)).toEqual(expected)
  })
})
