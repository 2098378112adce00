import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { readJob } from '../../jobs/kit'
import { eventually } from '../../webhooks/receiver'
import { ledgerOf } from '../calls/kit'
import {
  atOnce,
  callsOf,
  completed,
  contactsOf,
  csv,
  eventsOf,
  makeCaller,
  makeCampaign,
  number,
  post,
  sendCsv,
  started,
  until,
} from './kit'

// Simulated calls go a thousand times as fast as people here. A number that ends in 0001 is not answered, in 0002 busy, 0003 is
// none, 0004 not answered at first; 0005 lasts.

describe('a campaign that runs', () => {
  it('calls everybody once, and says how that went', { timeout: 60_000 }, async () => {
    const numbers = [...Array.from({ length: 17 }, (_, i) => number(100 + i)), ...[1, 2, 3].map(number)]
    const { world, agent, id, job } = await started(numbers)
    const seen = await until(world, id, completed)
    expect(seen.contacts).toEqual({
      ...{ total: 20, pending: 0, calling: 0, completed: 17, no_answer: 2, failed: 1 },
    })
    expect(seen.started_at).not.toBeNull()
    expect(seen.completed_at).not.toBeNull()
    const calls = await callsOf(world, id)
    expect(calls.map(({ to }) => to).toSorted()).toEqual(numbers.toSorted())
    const contacts = await contactsOf(world, id)
    const byCall = new Map(calls.map((call) => [call.id, call]))
    for (const contact of contacts) {
      expect(byCall.get(contact.call_id ?? '')).toMatchObject({ to: contact.phone, status: contact.status })
      expect([contact.attempts, contact.next_at]).toEqual([1, null])
      expect(contact.ended_reason).not.toBeNull()
    }
    const unanswered = (await contactsOf(world, id, '&status=no_answer')).map((one) => one.ended_reason)
    expect(unanswered.toSorted()).toEqual(['busy', 'no_answer'])
    const ended = await readJob(world, job)
    expect([ended.status, ended.progress]).toEqual(['completed', 100])
    expect(ended.result).toMatchObject({ status: 'completed', contacts: seen.contacts })
    const events = await eventsOf(world.tenant.id)
    expect(events.map(({ type }) => type)).toEqual(['campaign.started', 'campaign.completed'])
    expect(events[1]).toMatchObject({ campaign_id: id, agent_id: agent, contacts: seen.contacts })
    // What was held is settled: each call is reserved, released and, where it was answered, spent.
    const ledger = await ledgerOf(world)
    expect(ledger.filter(({ kind }) => kind === 'reserve')).toHaveLength(20)
    expect(ledger.filter(({ kind }) => kind === 'release')).toHaveLength(20)
  })

  it('calls again who did not answer, as often as was said, and not before', {
    timeout: 60_000,
  }, async () => {
    const { world, id } = await started([1, 4, 3].map(number), {
      schedule: { retries: 2, retry_delay_minutes: 30 },
    })
    const waits = await until(world, id, ({ contacts }) => contacts.pending === 2 && contacts.failed === 1)
    expect(waits.status).toBe('running')
    const [, second, first] = await contactsOf(world, id)
    for (const contact of [first, second]) {
      expect(contact).toMatchObject({ status: 'pending', attempts: 1, ended_reason: 'no_answer' })
      expect(Date.parse(contact?.next_at ?? '') - Date.now()).toBeGreaterThan(25 * 60_000)
    }
    // Half an hour passes, and once more.
    for (const attempts of [2, 3]) {
      const pending = (await contactsOf(world, id, '&status=pending')).map(({ phone }) => phone)
      expect(pending.length).toBeGreaterThan(0)
      await env.DB.prepare(
        "update campaign_contacts set next_at = '2020-01-01T00:00:00.000Z' where tenant_id = ? and campaign_id = ? and next_at is not null",
      )
        .bind(world.tenant.id, id)
        .run()
      // An import wakes the campaign.
      await sendCsv(world, id, csv([number(3)]))
      await until(world, id, ({ contacts }) => contacts.calling === 0 && contacts.pending < 2)
      const [retried] = await contactsOf(world, id, `&phone=${encodeURIComponent(number(1))}`)
      await eventually(async () => {
        const [now] = await contactsOf(world, id, `&phone=${encodeURIComponent(number(1))}`)
        return now?.attempts === attempts && now.status !== 'calling' ? now : null
      }, 10_000)
      expect(retried?.attempts).toBeLessThanOrEqual(attempts)
    }
    const end = await until(world, id, completed)
    expect(end.contacts).toMatchObject({ completed: 1, no_answer: 1, failed: 1, pending: 0 })
    const tried = (await callsOf(world, id)).map(({ to, metadata }) => [to, JSON.parse(metadata).attempt])
    expect(tried.filter(([to]) => to === number(1)).map(([, attempt]) => attempt)).toEqual([1, 2, 3])
    expect(tried.filter(([to]) => to === number(4)).map(([, attempt]) => attempt)).toEqual([1, 2])
    expect(tried.filter(([to]) => to === number(3)).map(([, attempt]) => attempt)).toEqual([1])
  })

  it('calls nobody whose hours are closed, and whose end first, first', { timeout: 60_000 }, async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const utc = new Date().getUTCHours()
    const clock = (hour: number) => `${String((hour + 48) % 24).padStart(2, '0')}:00`
    // Open in UTC for two hours and more; three hours to the west for five; twelve hours away not at all.
    await post(world, `/${id}/contacts`, [
      { phone: number(100), timezone: 'Etc/GMT+3' },
      { phone: number(101), timezone: 'Etc/GMT-12' },
      { phone: number(102) },
      { phone: number(103), timezone: 'Etc/GMT+12' },
    ])
    const hours = { from: clock(utc - 4), to: clock(utc + 3) }
    const { data } = await post(
      world,
      `/${id}/schedule`,
      atOnce({ calling_hours: hours, calls_per_minute: 60 }),
    )
    const seen = await until(world, id, ({ contacts }) => contacts.completed === 2)
    expect([seen.status, seen.contacts.pending]).toEqual(['running', 2])
    expect((await callsOf(world, id)).map(({ to }) => to)).toEqual([number(102), number(100)])
    const job = await eventually(async () => {
      const now = await readJob(world, data.job_id ?? '')
      return now.result?.waiting_for === 'calling_hours' ? now : null
    }, 20_000)
    expect([job.status, job.progress]).toEqual(['running', 50])
    // The time is over: who was not called is not any more.
    expect((await post(world, `/${id}/pause`)).status).toBe(200)
    const end_at = new Date(Date.now() + 2_000).toISOString()
    await post(world, `/${id}/schedule`, atOnce({ calling_hours: hours, end_at }))
    const end = await until(world, id, completed)
    expect(end.contacts).toMatchObject({ completed: 2, pending: 2 })
  })

  it('places no more than its cap, one after the other', { timeout: 60_000 }, async () => {
    const { world, id, from } = await started(
      Array.from({ length: 8 }, (_, i) => number(100 + i)),
      { schedule: { calls_per_minute: 120 } },
    )
    await until(world, id, completed)
    const times = (await callsOf(world, id)).map(({ created_at }) => Date.parse(created_at))
    // Places are half a second apart: none is taken before its time, however late others were.
    for (const [i, time] of times.entries()) expect(time - from).toBeGreaterThanOrEqual(i * 500)
  })
})

describe('many contacts', () => {
  it('are called some at a time, each once', { timeout: 120_000 }, async () => {
    const { world, id } = await started(
      Array.from({ length: 300 }, (_, i) => number(1_100 + i)),
      { credits: 1_000_000 },
    )
    const seen = await until(world, id, completed, 100_000)
    expect(seen.contacts.completed).toBe(seen.contacts.total)
    const calls = await callsOf(world, id)
    expect(new Set(calls.map(({ to }) => to)).size).toBe(calls.length)
    expect(calls).toHaveLength(seen.contacts.total)
  })
})
