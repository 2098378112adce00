import { beforeAll, describe, expect, it } from 'vitest'
import { callJson, makeWorld, type World } from '../../world'
import { PASSWORD, someone, tenantOf } from '../kit'
import { Browser, isolateWith, person as loginOf, makeIdp, oidc } from '../oauth-kit'
import { meIn, OwnIssuer, trust } from './kit'

// An issuer of a tenant's own says of anybody that he verified his address there. It must mean nothing elsewhere.

const patient = { timeout: 60_000 }
const tenantIn = (token: string) =>
  JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))).tenant_id

/** A tenant whose own issuer claims an address. */
async function claimed(email: string): Promise<World> {
  const world = await makeWorld()
  const issuer = await OwnIssuer.make('ES256')
  await trust(world, issuer, { algs: ['ES256'], trusts_email: true })
  const token = await issuer.signs(issuer.says({ sub: 'x', claims: { email, email_verified: true } }))
  expect((await meIn(world, token)).status).toBe(200)
  return world
}

describe('an address that a tenant’s own issuer claims', patient, () => {
  let idp: ReturnType<typeof makeIdp>
  beforeAll(() => {
    idp = makeIdp()
  })
  const browser = () => new Browser(isolateWith({ acme: oidc(idp.url) }))

  it('leads no login of its owner at a provider into that tenant', async () => {
    const email = someone()
    const evil = await claimed(email)
    const { status, data } = await browser().login('acme', loginOf(email))
    expect(status).toBe(200)
    expect(tenantIn(data.access_token)).not.toBe(evil.tenant.id)
  })

  it('nor where that tenant is named, nor does it come between its owner and his own tenant', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email, { verified: true })
    const evil = await claimed(email)
    const named = await browser().login('acme', loginOf(email), { query: { tenant: evil.tenant.id } })
    expect(named.error.code).toBe('oauth_not_linked')
    const { status, data } = await browser().login('acme', loginOf(email))
    expect([status, tenantIn(data.access_token)]).toEqual([200, tenant.id])
  })

  it('keeps its owner’s password from being tried in no number of tenants', async () => {
    const email = someone()
    for (let n = 0; n < 3; n++) await claimed(email)
    const made = await callJson('POST', '/api/v1/auth/register', { body: { email, password: PASSWORD } })
    expect(made.status).toBe(201)
    const { status } = await callJson('POST', '/api/v1/auth/login', { body: { email, password: PASSWORD } })
    expect(status).toBe(200)
  })
})
