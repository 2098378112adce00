import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { problem } from '../../../src/lib/problem'
import { drive, ledgerOf, place, providerOf, rowOf } from '../calls/kit'
import { atOnce, contactsOf, csv, makeCaller, makeCampaign, number, post, read, sendCsv } from './kit'

describe('a call of a campaign whose provider is down', () => {
  /** A contact that is being called, within hours that end five minutes from now; where it lives, if not there. */
  async function calling(timezone?: string) {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    if (timezone === undefined) await sendCsv(world, id, csv([number(100)]))
    else await post(world, `/${id}/contacts`, [{ phone: number(100), timezone }])
    const clock = (ms: number) => new Date(Date.now() + ms).toISOString().slice(11, 16)
    const hours = { from: clock(-3600_000), to: clock(300_000) }
    // The campaign itself is yet to begin, so that nobody else places anything.
    const start_at = new Date(Date.now() + 3600_000).toISOString()
    expect((await post(world, `/${id}/schedule`, atOnce({ start_at, calling_hours: hours }))).status).toBe(
      200,
    )
    const dialled: string[] = []
    const down = { now: true }
    const provider = providerOf(`down-${id}`, {
      start: async (_, call) => {
        if (down.now) throw problem('provider_failed', 'It is down')
        dialled.push(call.to)
        return { provider_call_id: `p-${call.id}`, references: [] }
      },
    })
    const [contact] = await contactsOf(world, id)
    const one = { agent_id: agent, to: number(100), campaign_id: id, contact_id: contact?.id ?? '' }
    const [call] = await place(world, [one], { provider })
    await env.DB.batch([
      env.DB.prepare(
        "update campaign_contacts set status = 'calling', attempts = 1, next_at = null, call_id = ? where campaign_id = ?",
      ).bind(call?.id, id),
      env.DB.prepare('update campaigns set pending = 0, calling = 1 where id = ?').bind(id),
    ])
    const placed = Date.parse(call?.created_at ?? '')
    await drive(world, placed)
    expect(await rowOf(call?.id ?? '')).toMatchObject({ status: 'queued', failures: 1 })
    return { world, id, dialled, down, placed, call: call?.id ?? '' }
  }

  it('is placed while its hours last', async () => {
    const { world, dialled, down, placed, call } = await calling()
    down.now = false
    await drive(world, placed + 60_000)
    expect([dialled, (await rowOf(call))?.status]).toEqual([[number(100)], 'ringing'])
  })

  it('rings nobody after them: whom it was for is called when they open again', async () => {
    const { world, id, dialled, down, placed, call } = await calling()
    down.now = false
    await drive(world, placed + 400_000)
    expect(dialled).toEqual([])
    expect(await rowOf(call)).toMatchObject({ status: 'failed', ended_reason: 'outside_hours', cost: 0 })
    const [contact] = await contactsOf(world, id)
    expect(contact).toMatchObject({ status: 'pending', attempts: 0, ended_reason: 'outside_hours' })
    expect(contact?.next_at).not.toBeNull()
    expect((await read(world, id)).contacts).toMatchObject({ pending: 1, calling: 0, failed: 0 })
    expect((await ledgerOf(world)).map(({ kind, amount }) => [kind, amount]).slice(1)).toEqual([
      ['reserve', -10],
      ['release', 10],
    ])
  })

  it('goes by the clock where somebody lives', async () => {
    // Twelve hours away it is night.
    const { world, dialled, down, placed, call } = await calling('Etc/GMT-12')
    down.now = false
    await drive(world, placed + 60_000)
    expect([dialled, (await rowOf(call))?.ended_reason]).toEqual([[], 'outside_hours'])
  })
})
