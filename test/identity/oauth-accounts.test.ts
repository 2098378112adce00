import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { ErrorBody } from '../world'
import { makePerson } from '../world'
import { someone, tenantOf } from './kit'
import { Browser, isolateWith, makeIdp, oidc, person } from './oauth-kit'

type Account = { id: string; provider: string; email: string; last_login_at: string | null }
const claimsIn = (token: string) =>
  JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')))

/** A user who came by a provider alone, and how to speak for them. */
async function newcomer(names: string[] = ['acme']) {
  const idp = makeIdp()
  const email = someone()
  const isolate = isolateWith(Object.fromEntries(names.map((name) => [name, oidc(idp.url)])))
  const browser = new Browser(isolate)
  let token = ''
  for (const name of names) token = (await browser.login(name, person(email))).data.access_token
  const { sub, tenant_id } = claimsIn(token)
  return { isolate, browser, email, token, user: { id: sub as string, tenant_id: tenant_id as string } }
}

async function ask(
  isolate: ReturnType<typeof isolateWith>,
  method: string,
  path: string,
  token: string,
  headers = {},
) {
  const answer = await isolate.ask(method, `/api/v1/auth/oauth${path}`, { token, headers })
  const text = await answer.text()
  const { data, error } = text ? (JSON.parse(text) as { data: Account[]; error: ErrorBody }) : {}
  return { status: answer.status, data: data ?? [], error: error?.code }
}

const set = (table: string, values: Record<string, unknown>) =>
  env.DB.prepare(
    `insert into ${table} (${Object.keys(values)}) values (${Object.keys(values).map(() => '?')})`,
  )
    .bind(...Object.values(values))
    .run()

describe('linked logins', () => {
  it('are shown to their user alone, without what the provider knows', async () => {
    const { isolate, token, email, user } = await newcomer(['acme', 'beta'])
    const { status, data } = await ask(isolate, 'GET', '/accounts', token)
    expect([status, data.map(({ provider }) => provider)]).toEqual([200, ['beta', 'acme']])
    expect(data[0]).toEqual({
      id: expect.any(String),
      provider: 'beta',
      email,
      created_at: expect.any(String),
      last_login_at: expect.any(String),
    })
    const page = await ask(isolate, 'GET', '/accounts?limit=1', token)
    expect(page.data).toHaveLength(1)
    const tenant = await env.DB.prepare('select * from tenants where id = ?').bind(user.tenant_id).first()
    const colleague = await makePerson(tenant as never, 'admin')
    expect((await ask(isolate, 'GET', '/accounts', colleague.token)).data).toEqual([])
    const [account] = data
    expect((await ask(isolate, 'DELETE', `/accounts/${account?.id}`, colleague.token)).error).toBe(
      'not_found',
    )
  })

  it('note when they were last used', async () => {
    const { isolate, browser, token, email } = await newcomer()
    const before = (await ask(isolate, 'GET', '/accounts', token)).data[0]?.last_login_at ?? ''
    await scheduler.wait(5)
    await browser.login('acme', person(email))
    const after = (await ask(isolate, 'GET', '/accounts', token)).data[0]?.last_login_at ?? ''
    expect(after > before).toBe(true)
  })

  it('may be removed while there is another, and lead nowhere then', async () => {
    const { isolate, browser, token, user } = await newcomer(['acme', 'beta'])
    const [beta, acme] = (await ask(isolate, 'GET', '/accounts', token)).data
    expect((await ask(isolate, 'DELETE', `/accounts/${beta?.id}`, token)).status).toBe(204)
    expect((await ask(isolate, 'DELETE', `/accounts/${beta?.id}`, token)).error).toBe('not_found')
    expect((await ask(isolate, 'DELETE', `/accounts/${acme?.id}`, token)).error).toBe('last_login_method')
    const audited = await env.DB.prepare(
      "select before from audit_log where tenant_id = ? and action = 'oauth.unlink'",
    )
      .bind(user.tenant_id)
      .all()
    expect(audited.results).toEqual([{ before: JSON.stringify({ account_id: beta?.id }) }])
    // The address is not what the account is found by any more, nor may it link anew without being vouched for.
    const back = await browser.login('beta', person(someone(), { sub: 'x', email_verified: false }))
    expect(back.error.code).toBe('oauth_email_unverified')
  })

  it('of two that are removed at once one stays', async () => {
    const { isolate, token } = await newcomer(['acme', 'beta'])
    const { data } = await ask(isolate, 'GET', '/accounts', token)
    const both = await Promise.all(data.map(({ id }) => ask(isolate, 'DELETE', `/accounts/${id}`, token)))
    expect(both.map(({ status }) => status).sort()).toEqual([204, 409])
    expect((await ask(isolate, 'GET', '/accounts', token)).data).toHaveLength(1)
  })

  it('the last stays unless there is a password or a passkey; another user’s does not count', async () => {
    const at = new Date().toISOString()
    for (const way of ['none', 'password', 'passkey'] as const) {
      const { isolate, token, user } = await newcomer()
      const [account] = (await ask(isolate, 'GET', '/accounts', token)).data
      const tenant = await env.DB.prepare('select * from tenants where id = ?').bind(user.tenant_id).first()
      const colleague = await makePerson(tenant as never, 'member')
      const passkey = (user_id: string) =>
        set('passkeys', {
          ...{ tenant_id: user.tenant_id, id: crypto.randomUUID(), user_id, name: 'key' },
          ...{
            credential_id: crypto.randomUUID(),
            public_key: 'x',
            counter: 0,
            transports: '[]',
            aaguid: '',
          },
          ...{ device_type: 'single_device', backed_up: 0, created_at: at, updated_at: at },
        })
      await passkey(colleague.user.id)
      if (way === 'passkey') await passkey(user.id)
      await env.DB.prepare("update users set password_hash = 'x' where id = ?")
        .bind(way === 'password' ? user.id : colleague.user.id)
        .run()
      const { status, error } = await ask(isolate, 'DELETE', `/accounts/${account?.id}`, token)
      expect([way, status, error]).toEqual([
        way,
        ...(way === 'none' ? [409, 'last_login_method'] : [204, undefined]),
      ])
    }
  })

  it('one at a provider that is configured no more is no way in', async () => {
    const { isolate, token } = await newcomer(['acme', 'beta'])
    const [beta, acme] = (await ask(isolate, 'GET', '/accounts', token)).data
    const later = isolateWith({ acme: oidc(makeIdp().url) })
    expect((await ask(later, 'DELETE', `/accounts/${acme?.id}`, token)).error).toBe('last_login_method')
    expect((await ask(later, 'DELETE', `/accounts/${beta?.id}`, token)).status).toBe(204)
  })

  it('a stale If-Match removes nothing', async () => {
    const { isolate, token } = await newcomer(['acme', 'beta'])
    const [beta] = (await ask(isolate, 'GET', '/accounts', token)).data
    const stale = await ask(isolate, 'DELETE', `/accounts/${beta?.id}`, token, { 'If-Match': '"v7"' })
    expect([stale.status, stale.error]).toEqual([412, 'precondition_failed'])
    expect(
      (await ask(isolate, 'DELETE', `/accounts/${beta?.id}`, token, { 'If-Match': '"v1"' })).status,
    ).toBe(204)
  })

  it('end with their user, and go on where the address changes hands', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email, { verified: true })
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const first = await browser.login('acme', person(email))
    const { sub } = claimsIn(first.data.access_token)
    await env.DB.prepare('update users set email = ? where id = ?').bind(someone(), sub).run()
    const again = await browser.login('acme', person(email))
    expect(claimsIn(again.data.access_token)).toMatchObject({ sub, tenant_id: tenant.id })
    await env.DB.prepare('delete from users where id = ?').bind(sub).run()
    const left = await env.DB.prepare('select id from oauth_accounts where user_id = ?').bind(sub).all()
    expect(left.results).toEqual([])
  })
})
