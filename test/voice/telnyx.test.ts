import { env } from 'cloudflare:workers'
import Telnyx from 'telnyx'
import { describe, expect, it } from 'vitest'
import { ofTelnyx } from '../webhooks/incoming/kit'
import { askedOf, atTelnyx, FROM, makeVoice, placedCall, TO, type Voice } from './ultravox/kit'

// Telnyx’s own library is the independent word on what the local server speaks, and so on what our adapter does.

/** The key in vitest.config.ts. */
const PUBLIC_KEY = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='

const clientOf = ({ name }: Pick<Voice, 'name'>, apiKey = 'KEY_of_the_tests') =>
  new Telnyx({
    apiKey,
    publicKey: PUBLIC_KEY,
    baseURL: `${env.RECEIVER_URL}/telnyx/${name}/v2`,
    maxRetries: 0,
  })

describe('Telnyx’s own client', () => {
  it('dials, asks how a call stands and hangs up as our adapter does', async () => {
    const voice = await makeVoice()
    const ours = await placedCall(voice)
    const [asked] = await askedOf(voice, 'telnyx', 'POST /v2/calls')
    const telnyx = clientOf(voice)
    const { command_id: _, ...body } = asked?.body ?? {}
    const { data } = await telnyx.calls.dial(body as never)
    expect(data).toMatchObject({ record_type: 'call', is_alive: false, client_state: btoa(ours.id) })
    const theirs = (await askedOf(voice, 'telnyx', 'POST /v2/calls'))[1]
    expect({ ...theirs?.body, command_id: ours.id }).toEqual(asked?.body)
    expect(theirs?.headers.authorization).toBe(asked?.headers.authorization)

    const status = await telnyx.calls.retrieveStatus(ours.carrier_call_id ?? '')
    expect(status.data).toMatchObject({ call_control_id: ours.carrier_call_id, is_alive: true })
    const active: string[] = []
    for await (const one of telnyx.connections.listActiveCalls('1494404757140276705'))
      active.push(one.client_state)
    expect(active).toEqual([btoa(ours.id), btoa(ours.id)])
    const numbers: string[] = []
    for await (const one of telnyx.phoneNumbers.list({
      filter: { status: 'active', phone_number: FROM.slice(1) },
    }))
      numbers.push(one.phone_number)
    expect(numbers).toEqual([FROM])

    await telnyx.calls.actions.hangup(data?.call_control_id ?? '', {})
    const events: string[] = []
    for await (const one of telnyx.callEvents.list({ filter: { leg_id: data?.call_leg_id ?? '' } }))
      events.push(one.name)
    expect(events).toEqual(['call.initiated', 'call.hangup'])
    const again = await telnyx.calls.actions.hangup(data?.call_control_id ?? '', {}).catch((error) => error)
    expect(again).toBeInstanceOf(Telnyx.UnprocessableEntityError)
  })

  it('is refused as ours is: without a right key, and where a field is wrong', async () => {
    const voice = { name: crypto.randomUUID() }
    const call = { connection_id: '1', to: TO, from: FROM }
    const refusals = await Promise.all([
      clientOf(voice, 'wrong')
        .calls.dial(call)
        .catch((error) => error.constructor),
      clientOf(voice)
        .calls.dial({ ...call, to: '12' })
        .catch((error) => error.constructor),
      clientOf(voice)
        .calls.retrieveStatus('v3:none')
        .catch((error) => error.constructor),
    ])
    expect(refusals).toEqual([
      Telnyx.AuthenticationError,
      Telnyx.UnprocessableEntityError,
      Telnyx.NotFoundError,
    ])
  })

  it('verifies what the tests sign as webhooks, and nothing that was changed', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    const webhook = await atTelnyx(voice, call, { event: 'call.answered' })
    const { body, headers } = ofTelnyx(webhook)
    const telnyx = clientOf(voice)
    const event = await telnyx.webhooks.unwrap(String(body), { headers })
    expect(event).toMatchObject({
      data: { event_type: 'call.answered', payload: { call_control_id: call.carrier_call_id, to: TO } },
    })
    await expect(telnyx.webhooks.unwrap(`${body} `, { headers })).rejects.toThrow()
  })
})
