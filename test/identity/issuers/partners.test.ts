import { beforeAll, describe, expect, it } from 'vitest'
import { expectError } from '../../http/expect-error'
import { call, callJson, makePlatformAdmin, makeWorld, type Person, type World } from '../../world'
import { meData, OwnIssuer, person, trust } from './kit'

// A tenant's own issuer speaks for that tenant alone: also of a user whom a partner lets act in the tenants of others.

let platform: Person
let home: World
let customer: World
beforeAll(async () => {
  platform = await makePlatformAdmin()
  home = await makeWorld()
  customer = await makeWorld()
})

/** A token by which the home tenant's issuer speaks of a user who acts for a partner. */
async function ofPartner(): Promise<string> {
  const issuer = await OwnIssuer.make('ES256')
  await trust(home, issuer, { algs: ['ES256'] })
  const token = await issuer.signs(issuer.says(person()))
  const { id } = await meData(home, token)
  const ask = (method: string, path: string, body?: object) =>
    callJson<{ id: string }>(method, `/api/v1/partners${path}`, {
      token: platform.token,
      ...(body ? { body } : {}),
    })
  const partner = (await ask('POST', '', { name: 'Integrators' })).data
  await ask('PUT', `/${partner.id}/tenants/${customer.tenant.id}`, { role: 'developer' })
  expect((await ask('PUT', `/${partner.id}/users/${id}`)).status).toBe(200)
  return token
}

describe('a tenant’s own issuer that speaks of a partner’s user', () => {
  const atHome = () => ({ 'X-Tenant-ID': home.tenant.id })
  const away = () => ({ 'X-Active-Tenant-Id': customer.tenant.id })

  it('leads into no tenant of others, by header or by a ticket', async () => {
    const token = await ofPartner()
    await expectError(
      call('GET', '/api/v1/agents', { token, headers: { ...atHome(), ...away() } }),
      'tenant_mismatch',
    )
    const { data } = await callJson<{ ticket: string }>('POST', '/api/v1/realtime/ticket', {
      token,
      headers: atHome(),
    })
    const path = `/api/v1/chats/${crypto.randomUUID()}/stream?ticket=${data.ticket}`
    await expectError(call('GET', path, { headers: away() }), 'tenant_mismatch')
  })

  it('is shown neither the partner nor its tenants', async () => {
    const token = await ofPartner()
    const headers = atHome()
    for (const path of ['', '/tenants', '/usage'])
      await expectError(call('GET', `/api/v1/partners/portal${path}`, { token, headers }), 'partner_required')
    const { data } = await callJson<{ id: string }[]>('GET', '/api/v1/auth/clients', { token, headers })
    expect(data.map(({ id }) => id)).toEqual([home.tenant.id])
  })
})
