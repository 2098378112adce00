import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { call, callJson, makeWorld } from '../world'

// Version 2's own examples: clients of a network, the service switch, interactions.

const json = async (response: Response) => (await response.json()) as Record<string, unknown>

describe('/api/v2/service/client', () => {
  it('registers a client, shows its secret once, and keeps it when the URL changes', async () => {
    const { admin, tenant } = await makeWorld()
    const path = '/api/v2/service/client/register/my-client'
    const first = await call('POST', path, {
      token: admin.token,
      body: { webhook_url: `${env.RECEIVER_URL}/hook/status/200` },
    })
    expect(first.status).toBe(200)
    const registered = await json(first)
    expect(registered).toEqual({
      message: 'Client registered',
      client_id: 'my-client',
      network_id: tenant.id,
      webhook_url: `${env.RECEIVER_URL}/hook/status/200`,
      secret: expect.stringMatching(/^whsec_/),
    })

    const again = await json(
      await call('POST', path, {
        token: admin.token,
        body: { webhook_url: `${env.RECEIVER_URL}/hook/status/204` },
      }),
    )
    expect(again).toMatchObject({
      client_id: 'my-client',
      webhook_url: `${env.RECEIVER_URL}/hook/status/204`,
    })
    expect(again).not.toHaveProperty('secret')

    const list = await callJson<{ id: string; event_types: string[]; payload: string }[]>(
      'GET',
      '/api/v1/webhooks',
      {
        token: admin.token,
      },
    )
    expect(list.data).toHaveLength(1)
    expect(list.data[0]).toMatchObject({ event_types: ['interaction.created'], payload: 'data' })
    const secret = await callJson('GET', `/api/v1/webhooks/${list.data[0]?.id}/secret`, {
      token: admin.token,
    })
    expect(secret.data.secret).toBe(registered.secret)
  })

  it('names the documents’ field when the URL is wrong, and refuses a strange client id', async () => {
    const { admin } = await makeWorld()
    const answer = await callJson('POST', '/api/v2/service/client/register/my-client', {
      token: admin.token,
      body: { webhook_url: 'not a url' },
    })
    expect(answer.status).toBe(422)
    expect(answer.error.details.fields).toHaveProperty('webhook_url')
    const strange = await callJson('POST', '/api/v2/service/client/register/my%20client', {
      token: admin.token,
      body: { webhook_url: 'https://example.com/' },
    })
    expect(strange.status).toBe(422)
    expect(strange.error.details.fields).toHaveProperty('client_id')
  })

  it('deregisters, and answers 404 for a client there is not', async () => {
    const { admin, tenant } = await makeWorld()
    await call('POST', '/api/v2/service/client/register/gone', {
      token: admin.token,
      body: { webhook_url: `${env.RECEIVER_URL}/hook/status/200` },
    })
    const answer = await call('DELETE', '/api/v2/service/client/deregister/gone', { token: admin.token })
    expect(answer.status).toBe(200)
    expect(await json(answer)).toEqual({
      message: 'Client deregistered',
      client_id: 'gone',
      network_id: tenant.id,
    })
    const twice = await call('DELETE', '/api/v2/service/client/deregister/gone', { token: admin.token })
    expect(twice.status).toBe(404)
  })

  it('deregisters once for an idempotency key, and answers its repeat with the same', async () => {
    const { admin } = await makeWorld()
    await call('POST', '/api/v2/service/client/register/once', {
      token: admin.token,
      body: { webhook_url: `${env.RECEIVER_URL}/hook/status/200` },
    })
    const ask = () =>
      call('DELETE', '/api/v2/service/client/deregister/once', {
        token: admin.token,
        headers: { 'Idempotency-Key': 'k' },
      })
    const first = await ask()
    const again = await ask()
    expect([first.status, again.status]).toEqual([200, 200])
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect(await again.json()).toEqual(await first.json())
  })
})

describe('/api/v2/service/enable and disable', () => {
  it('switch the taking of interactions', async () => {
    const { admin, tenant } = await makeWorld()
    const register = () =>
      call('POST', `/api/v2/${tenant.id}/interactions/register`, {
        token: admin.token,
        body: { text: 'Hello' },
      })
    const off = await call('PATCH', '/api/v2/service/disable', { token: admin.token })
    expect(await json(off)).toEqual({ network_id: tenant.id, service_enabled: false })
    const refused = await register()
    expect(refused.status).toBe(409)
    expect((await json(refused)).error).toMatchObject({ code: 'service_disabled' })
    expect((await callJson<unknown[]>('GET', '/api/v1/interactions', { token: admin.token })).data).toEqual(
      [],
    )

    const on = await call('PATCH', '/api/v2/service/enable', { token: admin.token })
    expect(await json(on)).toEqual({ network_id: tenant.id, service_enabled: true })
    expect((await register()).status).toBe(201)
  })
})

describe('/api/v2/{network_id}/interactions/register', () => {
  it('takes JSON and a form, bare', async () => {
    const { admin, tenant } = await makeWorld()
    const path = `/api/v2/${tenant.id}/interactions/register`
    const one = await call('POST', path, { token: admin.token, body: { text: 'Hello', speaker_id: 'a' } })
    expect(one.status).toBe(201)
    const first = await json(one)
    expect(first).toMatchObject({ type: 'speech', text: 'Hello', speaker_id: 'a' })
    const form = new FormData()
    form.set('text', 'And again')
    form.set('speaker_id', 'a')
    const two = await json(await call('POST', path, { token: admin.token, raw: form }))
    // The same speaker within the window goes on with the same conversation.
    expect(two).toMatchObject({ text: 'And again', conversation_id: first.conversation_id })
  })

  it('is 403 for another network, and for one that is no id', async () => {
    const [mine, other] = [await makeWorld(), await makeWorld()]
    for (const network of [other.tenant.id, 'not-a-uuid']) {
      const answer = await call('POST', `/api/v2/${network}/interactions/register`, {
        token: mine.admin.token,
        body: { text: 'Hello' },
      })
      expect(answer.status).toBe(403)
    }
  })

  it('takes x-client-id as X-Tenant-ID', async () => {
    const { admin, tenant } = await makeWorld()
    const right = await call('GET', '/api/v1/auth/me', {
      token: admin.token,
      headers: { 'x-client-id': tenant.id },
    })
    expect(right.status).toBe(200)
    const wrong = await callJson('GET', '/api/v1/auth/me', {
      token: admin.token,
      headers: { 'x-client-id': '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' },
    })
    expect(wrong.status).toBe(403)
    expect(wrong.error.code).toBe('tenant_mismatch')
  })
})
