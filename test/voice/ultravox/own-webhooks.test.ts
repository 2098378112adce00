import { env } from 'cloudflare:workers'
import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { makeSource, ofUltravox, outcome, post } from '../../webhooks/incoming/kit'
import { callJson } from '../../world'
import { rowOf } from '../calls/kit'
import { atTelnyx, atUltravox, makeVoice, placedCall, type Voice } from './kit'

// Webhooks of a tenant's own accounts, which sign with keys of theirs.

/** A source of the kind `telnyx`, and who signs as its account does. */
async function ownTelnyx({ world }: Voice) {
  const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair
  const raw = (await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer
  const secret = Buffer.from(raw).toString('base64')
  const id = await makeSource(world, { kind: 'telnyx', secrets: [secret] })
  const tells = async (webhook: unknown, source = id) => {
    const [body, at] = [JSON.stringify(webhook), `${Math.floor(Date.now() / 1000)}`]
    const bytes = await crypto.subtle.sign('Ed25519', pair.privateKey, Buffer.from(`${at}|${body}`))
    const signature = Buffer.from(bytes).toString('base64')
    const headers = { 'telnyx-signature-ed25519': signature, 'telnyx-timestamp': at }
    return outcome(post(`in/${source}`, { body, headers }))
  }
  return { id, tells }
}

const secondsAgo = (seconds: number) => new Date(Date.now() - seconds * 1_000).toISOString()

describe('webhooks of accounts of the tenant’s own', () => {
  it('move its calls on, by the key of that account', async () => {
    const voice = await makeVoice()
    const call = await placedCall(voice)
    const { tells } = await ownTelnyx(voice)
    const joined = secondsAgo(20)
    const webhook = await atTelnyx(voice, call, { event: 'call.answered', occurred_at: joined })
    expect((await tells(webhook)).status).toBe(200)
    expect(await rowOf(call.id)).toMatchObject({ status: 'in_progress', started_at: joined, own: 1 })
    expect((await tells(webhook)).data.duplicate).toBe(true)

    const secret = 'the secret of our Ultravox account'
    const ultravox = await makeSource(voice.world, { kind: 'ultravox', secrets: [secret] })
    const ended = new Date(Date.parse(joined) + 10_000).toISOString()
    const over = await atUltravox(voice, call, { joined, ended, endReason: 'hangup' })
    const sent = (by: string) =>
      outcome(post(`in/${ultravox}`, ofUltravox({ event: 'call.ended', call: over }, undefined, by)))
    expect(await sent('another secret')).toMatchObject({ status: 401, code: 'invalid_signature' })
    expect(await rowOf(call.id)).toMatchObject({ status: 'in_progress' })
    expect((await sent(secret)).status).toBe(200)
    expect(await rowOf(call.id)).toMatchObject({ status: 'completed', ended_at: ended, duration_seconds: 10 })
  })

  it('say nothing of another tenant’s calls, nor of one that the operator’s accounts carry', async () => {
    const [voice, other] = [await makeVoice(), await makeVoice()]
    const [call, theirs] = [await placedCall(voice), await placedCall(other)]
    const { tells } = await ownTelnyx(voice)
    const ofTheirs = await atTelnyx(other, theirs, { event: 'call.hangup', hangup_cause: 'user_busy' })
    expect((await tells(ofTheirs)).status).toBe(200)
    expect(await rowOf(theirs.id)).toMatchObject({ status: 'ringing' })

    await env.DB.prepare('update calls set own = 0 where id = ?').bind(call.id).run()
    expect(
      (await tells(await atTelnyx(voice, call, { event: 'call.hangup', hangup_cause: 'user_busy' }))).status,
    ).toBe(200)
    expect(await rowOf(call.id)).toMatchObject({ status: 'ringing' })
  })

  it('need a key that is one', async () => {
    const { world } = await makeVoice()
    const { status, error } = await callJson('POST', '/api/v1/webhooks/sources', {
      token: world.admin.token,
      body: { kind: 'telnyx', name: 'Ours', secrets: ['no public key at all'] },
    })
    expect([status, error.details.fields]).toEqual([
      422,
      { 'secrets.0': 'must be the public key of your Telnyx account: 32 bytes in base64' },
    ])
  })
})
