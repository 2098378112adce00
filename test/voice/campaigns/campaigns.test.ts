import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { callJson, makeWorld } from '../../world'
import { makeAgent } from '../calls/kit'
import {
  ALWAYS,
  atOnce,
  expectRefused,
  makeCaller,
  makeCampaign,
  post,
  read,
  type Seen,
  sendCsv,
} from './kit'

const later = (ms = 3600_000) => new Date(Date.now() + ms).toISOString()

describe('a campaign', () => {
  it('is a draft, with whom it calls for and from where', async () => {
    const { world, agent } = await makeCaller()
    const made = await post(world, '', { name: ' Renewals ', agent_id: agent, from: '+15550100001' })
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(`/api/v1/campaigns/${made.data.id}`)
    expect(made.data).toMatchObject({
      ...{ name: 'Renewals', agent_id: agent, from: '+15550100001', status: 'draft', schedule: null },
      ...{ job_id: null, paused_reason: null, started_at: null, completed_at: null },
      contacts: { total: 0, pending: 0, calling: 0, completed: 0, no_answer: 0, failed: 0 },
    })
    expect(await read(world, made.data.id)).toEqual(made.data)
  })

  it('is refused with each field that is wrong', async () => {
    const { world, agent } = await makeCaller()
    const fields = async (body: object) => (await post(world, '', body)).error?.details.fields
    expect(await fields({})).toEqual({ name: expect.any(String), agent_id: expect.any(String) })
    expect(await fields({ name: '', agent_id: 'x', from: '0170', color: 1 })).toEqual({
      ...{ name: 'must not be empty', agent_id: 'must be a UUID', color: expect.any(String) },
      from: expect.stringContaining('E.164'),
    })
    const nobody = { agent_id: expect.stringContaining('active agent') }
    expect(await fields({ name: 'A', agent_id: crypto.randomUUID() })).toEqual(nobody)
    const other = await makeWorld()
    expect(await fields({ name: 'A', agent_id: await makeAgent(other) })).toEqual(nobody)
    expect(await fields({ name: 'A', agent_id: await makeAgent(world, { is_active: false }) })).toEqual(
      nobody,
    )
    const id = await makeCampaign(world, agent)
    const patch = (body: object, headers = {}) =>
      callJson<Seen>('PATCH', `/api/v1/campaigns/${id}`, { token: world.developer.token, body, headers })
    expect((await patch({ agent_id: crypto.randomUUID() })).error.details.fields).toEqual(nobody)
    expect((await patch({ name: 'B', from: null })).data).toMatchObject({ name: 'B', from: null })
    expectRefused(await patch({ name: 'C' }, { 'If-Match': '"v1.0"' }), 'precondition_failed')
    expect((await patch({ name: 'C' }, { 'If-Match': '"v2.0"' })).status).toBe(200)
  })

  it('has a tag that changes with its counts, by which its version is still known', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const get = (headers = {}) =>
      callJson('GET', `/api/v1/campaigns/${id}`, { token: world.viewer.token, headers })
    const before = (await get()).headers.get('ETag') ?? ''
    expect((await get({ 'If-None-Match': before })).status).toBe(304)
    await sendCsv(world, id, 'phone\n+14155550101')
    expect((await get({ 'If-None-Match': before })).status).toBe(200)
    const changed = await callJson('PATCH', `/api/v1/campaigns/${id}`, {
      ...{ token: world.developer.token, body: { name: 'B' }, headers: { 'If-Match': before } },
    })
    expect(changed.status).toBe(200)
  })

  it('is listed by status and by agent', async () => {
    const { world, agent } = await makeCaller()
    const second = await makeAgent(world)
    const [a, b, c] = [
      await makeCampaign(world, agent),
      await makeCampaign(world, second),
      await makeCampaign(world, agent),
    ]
    await post(world, `/${c}/cancel`)
    const ids = async (query: string) =>
      (await callJson<Seen[]>('GET', `/api/v1/campaigns${query}`, { token: world.viewer.token })).data.map(
        ({ id }) => id,
      )
    expect(await ids('')).toEqual([c, b, a])
    expect(await ids('?status=draft')).toEqual([b, a])
    expect(await ids(`?agent_id=${agent}`)).toEqual([c, a])
    expect(await ids(`?agent_id=${agent}&status=cancelled`)).toEqual([c])
    expect(await ids(`?agent_id=${second}&status=cancelled`)).toEqual([])
    expect(await ids(`?created_after=${later()}`)).toEqual([])
    const wrong = await callJson('GET', '/api/v1/campaigns?status=over', { token: world.viewer.token })
    expectRefused(wrong, 'validation_failed')
  })
})

describe('a schedule', () => {
  const good = { start_at: later(), timezone: 'Europe/Berlin', calling_hours: ALWAYS, calls_per_minute: 30 }

  it('is kept as it was said, with what was left out', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const { status, data } = await post(world, `/${id}/schedule`, good)
    expect([status, data.status]).toEqual([200, 'scheduled'])
    expect(data.schedule).toEqual({
      ...{ ...good, end_at: null, retries: 0, retry_delay_minutes: 60 },
      calling_hours: { ...ALWAYS, days: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] },
    })
    expect(data.job_id).toMatch(/^[0-9a-f-]{36}$/)
    const again = await post(world, `/${id}/schedule`, { ...good, retries: 3, end_at: later(7200_000) })
    expect(again.data).toMatchObject({ status: 'scheduled', job_id: data.job_id, schedule: { retries: 3 } })
    const job = await callJson<{ status: string; kind: string; result: object }>(
      'GET',
      `/api/v1/jobs/${data.job_id}`,
      { token: world.viewer.token },
    )
    expect(job.data).toMatchObject({ kind: 'campaigns.run', finished_at: null })
  })

  it('names each field that is wrong', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const fields = async (more: object) =>
      (await post(world, `/${id}/schedule`, { ...good, ...more })).error?.details.fields
    const hours = (more: object) => ({ calling_hours: { from: '09:00', to: '17:00', ...more } })
    const cases: [object, Record<string, string>][] = [
      [{ timezone: 'Mars/Olympus' }, { timezone: 'time zone' }],
      [{ timezone: '' }, { timezone: 'time zone' }],
      [{ start_at: 'tomorrow' }, { start_at: 'must be a time' }],
      [{ end_at: good.start_at }, { end_at: 'later than start_at' }],
      [{ start_at: '2020-01-01T00:00:00Z', end_at: '2020-01-02T00:00:00Z' }, { end_at: 'future' }],
      [{ calls_per_minute: 0 }, { calls_per_minute: 'from 1 to 6000' }],
      [{ calls_per_minute: 1.5 }, { calls_per_minute: 'whole number' }],
      [{ calls_per_minute: '30' }, { calls_per_minute: 'whole number' }],
      [{ retries: 11 }, { retries: 'from 0 to 10' }],
      [{ retry_delay_minutes: -1 }, { retry_delay_minutes: 'from 0' }],
      [hours({ from: '9:00' }), { 'calling_hours.from': 'time of day' }],
      [hours({ from: '24:00' }), { 'calling_hours.from': 'time of day' }],
      [hours({ to: '25:00' }), { 'calling_hours.to': 'time of day' }],
      [hours({ to: '09:00' }), { 'calling_hours.to': 'must differ' }],
      [hours({ days: [] }), { 'calling_hours.days': 'at least one day' }],
      [hours({ days: ['mon', 'mon'] }), { 'calling_hours.days': 'once' }],
      [hours({ days: ['monday'] }), { 'calling_hours.days.0': 'mon, tue' }],
    ]
    for (const [more, wrong] of cases)
      expect([more, await fields(more)]).toEqual([
        more,
        Object.fromEntries(Object.entries(wrong).map(([name, why]) => [name, expect.stringContaining(why)])),
      ])
    expect((await read(world, id)).status).toBe('draft')
  })

  it('needs somebody to call, where it starts at once, and somebody who calls', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    expectRefused(await post(world, `/${id}/schedule`, atOnce()), 'conflict')
    await callJson('PATCH', `/api/v1/agents/${agent}`, {
      ...{ token: world.developer.token, body: { is_active: false } },
    })
    const refused = expectRefused(await post(world, `/${id}/schedule`, good), 'validation_failed')
    expect(refused.details.fields?.agent_id).toContain('active')
    await callJson('DELETE', `/api/v1/agents/${agent}`, { token: world.developer.token })
    const gone = expectRefused(await post(world, `/${id}/schedule`, good), 'validation_failed')
    expect(Object.keys(gone.details.fields ?? {})).toEqual(['agent_id'])
  })
})

describe('what is done to a campaign', () => {
  const paths = ['schedule', 'pause', 'resume', 'cancel'] as const
  const body = { start_at: later(), timezone: 'UTC', calling_hours: ALWAYS, calls_per_minute: 1 }

  it('is refused where that makes no sense, with what does', async () => {
    const { world, agent } = await makeCaller()
    const campaign = await makeCampaign(world, agent)
    const tried = async (allowed: string[]) => {
      for (const path of paths.filter((one) => !allowed.includes(one))) {
        const refused = expectRefused(
          await post(world, `/${campaign}/${path}`, path === 'schedule' ? body : undefined),
          'conflict',
        )
        expect(refused.message).toMatch(/can’t be \w+: \w/)
      }
    }
    const done = async (path: string, status: string) => {
      const made = await post(world, `/${campaign}/${path}`, path === 'schedule' ? body : undefined)
      expect([made.status, made.data?.status]).toEqual([200, status])
      return made.data
    }
    await tried(['schedule', 'cancel'])
    const { job_id } = await done('schedule', 'scheduled')
    await tried(['schedule', 'pause', 'cancel'])
    expect(await done('pause', 'paused')).toMatchObject({ paused_reason: 'requested' })
    await tried(['schedule', 'resume', 'cancel'])
    expect(await done('resume', 'scheduled')).toMatchObject({ paused_reason: null, job_id })
    await done('pause', 'paused')
    await done('schedule', 'scheduled')
    await done('cancel', 'cancelled')
    await tried([])
    const change = await callJson('PATCH', `/api/v1/campaigns/${campaign}`, {
      ...{ token: world.developer.token, body: { agent_id: agent } },
    })
    expectRefused(change, 'conflict')
    const job = await callJson<{ status: string }>('GET', `/api/v1/jobs/${job_id}`, {
      token: world.viewer.token,
    })
    expect(job.data.status).toBe('cancelled')
    const { results } = await env.DB.prepare(
      "select type from events where tenant_id = ? and type like 'campaign.%' order by seq",
    )
      .bind(world.tenant.id)
      .all<{ type: string }>()
    expect(results.map(({ type }) => type)).toEqual([
      ...['campaign.paused', 'campaign.paused', 'campaign.cancelled'],
    ])
  })

  it('is done by its job, too: cancelling that cancels the campaign', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const { data } = await post(world, `/${id}/schedule`, body)
    const { token } = world.developer
    expect((await callJson('POST', `/api/v1/jobs/${data.job_id}/cancel`, { token })).status).toBe(200)
    expect((await read(world, id)).status).toBe('cancelled')
    expectRefused(await callJson('POST', `/api/v1/jobs/${data.job_id}/retry`, { token }), 'conflict')
  })

  it('is for who may, and of this tenant alone', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    for (const path of paths) {
      const by = (token: string) =>
        callJson('POST', `/api/v1/campaigns/${id}/${path}`, { token, body: path === 'schedule' ? body : {} })
      expectRefused(await by(world.member.token), 'insufficient_scope')
      expectRefused(await by((await makeWorld()).developer.token), 'not_found')
    }
  })
})
