import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import { acceptable } from '../../src/domains/identity/invitations/accept'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { PASSWORD, someone } from '../identity/kit'
import { call, callJson, makeWorld, requestContext, type World } from '../world'

type Invitation = {
  id: string
  email: string
  role: string
  status: string
  invited_by: string | null
  user_id: string | null
  expires_at: string
}

const PATH = '/api/v1/users/invitations'
const rows = async <T = Record<string, unknown>>(sql: string, ...params: unknown[]) =>
  (
    await env.DB.prepare(sql)
      .bind(...params)
      .all<T>()
  ).results
const as =
  ({ admin: { token } }: World) =>
  <T = Invitation>(method: string, path: string, body?: object, headers: Record<string, string> = {}) =>
    callJson<T>(method, `${PATH}${path}`, { token, headers, ...(body ? { body } : {}) })
const register = (body: object) =>
  callJson<{ id: string; tenant_id: string; role: string }>('POST', '/api/v1/auth/register', {
    body: { password: PASSWORD, ...body },
  })
/** The tokens of the links that an address was mailed, oldest first. */
const tokensOf = async (email: string) =>
  (await rows<{ text: string }>('select text from mails where "to" = ? order by id', email)).map(
    ({ text }) => /\/accept-invitation#token=([A-Za-z0-9_-]{43})\n/.exec(text)?.[1] ?? '',
  )
const expire = (id: string) =>
  env.DB.prepare("update invitations set expires_at = '2020-01-01T00:00:00.000Z' where id = ?").bind(id).run()
const invited = async (world: World, body: object = {}) => {
  const email = someone()
  const { data, status } = await as(world)('POST', '', { email, ...body })
  expect(status).toBe(201)
  const [invitation = ''] = await tokensOf(email)
  return { email, invitation, id: data.id }
}
const accept = ({ email, invitation }: { email: string; invitation: string }) =>
  register({ email, invitation })

describe('an invitation', { timeout: 30_000 }, () => {
  it('is made, mailed, read, listed, and becomes a user with its role', async () => {
    const world = await makeWorld()
    const email = someone()
    const made = await as(world)('POST', '', { email: email.toUpperCase(), role: 'developer' })
    expect([made.status, made.headers.get('Location')]).toEqual([201, `${PATH}/${made.data.id}`])
    expect(made.data).toMatchObject({
      email,
      role: 'developer',
      status: 'pending',
      invited_by: world.admin.user.id,
      user_id: null,
    })
    const days = (Date.parse(made.data.expires_at) - Date.now()) / (24 * 3600_000)
    expect(Math.round(days)).toBe(7)
    const [invitation] = await tokensOf(email)
    expect(JSON.stringify(made.data)).not.toContain(invitation)
    const [kept] = await rows<{ hash: string }>('select hash from invitations where id = ?', made.data.id)
    expect(kept?.hash).toMatch(/^[0-9a-f]{64}$/)

    const joined = await register({ email, invitation })
    expect([joined.status, joined.data.role, joined.data.tenant_id]).toEqual([
      201,
      'developer',
      world.tenant.id,
    ])
    expect((await as(world)('GET', `/${made.data.id}`)).data).toMatchObject({
      status: 'accepted',
      user_id: joined.data.id,
    })
    expect((await as(world)<Invitation[]>('GET', '')).data.map(({ id }) => id)).toEqual([made.data.id])
    const audit = await rows(
      'select action, resource_id from audit_log where tenant_id = ? order by seq',
      world.tenant.id,
    )
    expect(audit.slice(-2)).toEqual([
      { action: 'invitation.create', resource_id: made.data.id },
      { action: 'user.register', resource_id: joined.data.id },
    ])
  })

  it('shows the tenant’s name where it is known who sent it', async () => {
    const world = await makeWorld()
    const text = async () => {
      const { email } = await invited(world)
      const [mail] = await rows<{ text: string }>('select text from mails where "to" = ?', email)
      return mail?.text
    }
    expect(await text()).not.toContain(world.tenant.name)
    await env.DB.prepare('update users set email_verified_at = ? where id = ?')
      .bind(new Date().toISOString(), world.admin.user.id)
      .run()
    expect(await text()).toContain(world.tenant.name)
  })

  it('is for nobody who is in the tenant, and one at a time', async () => {
    const world = await makeWorld()
    const ask = as(world)
    const there = await ask('POST', '', { email: world.member.user.email })
    expect([there.status, there.error.code]).toEqual([409, 'already_exists'])
    const email = someone()
    const both = await Promise.all([ask('POST', '', { email }), ask('POST', '', { email })])
    expect(both.map(({ status, error }) => error?.code ?? status).sort()).toEqual([201, 'already_exists'])
    expect(await tokensOf(email)).toHaveLength(1)
    // One that has expired gives way.
    await expire(both.find(({ data }) => data)?.data.id ?? '')
    expect((await ask('POST', '', { email })).status).toBe(201)
    const statuses = (await ask<Invitation[]>('GET', '')).data.map(({ status }) => status)
    expect(statuses).toEqual(['pending', 'revoked'])
  })

  it('needs room in the tenant when it is made, and when it is accepted', async () => {
    const world = await makeWorld({ settings: { max_users: 5 } })
    const first = await invited(world)
    const second = await invited(world)
    expect((await accept(first)).status).toBe(201)
    const full = await accept(second)
    expect([full.status, full.error.code]).toEqual([409, 'user_limit_reached'])
    expect((await as(world)('GET', `/${second.id}`)).data.status).toBe('pending')
    const third = await as(world)('POST', '', { email: someone() })
    expect([third.status, third.error.code]).toEqual([409, 'user_limit_reached'])
  })

  it('used twice is 409 invitation_used, and it is on record', async () => {
    const world = await makeWorld()
    const { id, ...accepting } = await invited(world)
    expect((await register(accepting)).status).toBe(201)
    const again = await register(accepting)
    expect([again.status, again.error.code]).toEqual([409, 'invitation_used'])
    expect(
      await rows("select after from audit_log where resource_id = ? and action = 'invitation.refuse'", id),
    ).toEqual([{ after: '{"reason":"invitation_used"}' }])
  })

  it('by another email is 403 invitation_mismatch, also of who has another one of their own', async () => {
    const world = await makeWorld()
    const mine = await invited(world)
    const theirs = await invited(world, { role: 'admin' })
    const answer = await register({ email: mine.email, invitation: theirs.invitation })
    expect([answer.status, answer.error.code]).toEqual([403, 'invitation_mismatch'])
    expect(await rows('select id from users where email = ?', mine.email)).toEqual([])
  })

  it('after revocation is 409 invitation_revoked', async () => {
    const world = await makeWorld()
    const { id, ...accepting } = await invited(world)
    expect((await as(world)('DELETE', `/${id}`)).status).toBe(204)
    const answer = await register(accepting)
    expect([answer.status, answer.error.code]).toEqual([409, 'invitation_revoked'])
    expect((await as(world)('GET', `/${id}`)).data.status).toBe('revoked')
    for (const [method, path] of [
      ['DELETE', `/${id}`],
      ['POST', `/${id}/resend`],
    ] as const)
      expect((await as(world)(method, path)).error.code).toBe('invitation_revoked')
  })

  it('after expiry is 409 invitation_expired, until it is sent again', async () => {
    const world = await makeWorld()
    const { id, email, invitation } = await invited(world)
    await expire(id)
    const answer = await register({ email, invitation })
    expect([answer.status, answer.error.code]).toEqual([409, 'invitation_expired'])
    expect((await as(world)('GET', `/${id}`)).data.status).toBe('expired')
    const sent = await as(world)('POST', `/${id}/resend`)
    expect([sent.status, sent.data.status]).toEqual([200, 'pending'])
    expect(Date.parse(sent.data.expires_at)).toBeGreaterThan(Date.now() + 6 * 24 * 3600_000)
    const [, newer = ''] = await tokensOf(email)
    // The link of before is none any more.
    expect((await register({ email, invitation })).status).toBe(422)
    expect((await register({ email, invitation: newer })).status).toBe(201)
    for (const [method, path] of [
      ['DELETE', `/${id}`],
      ['POST', `/${id}/resend`],
    ] as const)
      expect((await as(world)(method, path)).error.code).toBe('invitation_used')
  })

  it('sent again while its old link is being used is left to the new one', async () => {
    const world = await makeWorld()
    const { email, invitation, id } = await invited(world)
    const { ctx, use } = await acceptable(requestContext(), invitation, email)
    expect((await as(world)('POST', `/${id}/resend`)).status).toBe(200)
    await expect(
      commit(ctx, { statements: [use(world.member.user.id)], result: undefined }),
    ).rejects.toMatchObject({ code: 'invitation_used' })
    expect((await as(world)('GET', `/${id}`)).data).toMatchObject({ status: 'pending', user_id: null })
  })

  it('of another tenant is none to a service that is for one', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const service = serviceWith({ SINGLE_TENANT_ID: world.tenant.id })
    const ask = ({ email, invitation }: { email: string; invitation: string }) =>
      service('POST', 'http://localhost:8787/api/v1/auth/register', {
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ email, password: PASSWORD, invitation }),
      })
    const elsewhere = await invited(other)
    await expectError(ask(elsewhere), 'tenant_mismatch')
    expect((await as(other)('GET', `/${elsewhere.id}`)).data.status).toBe('pending')
    expect((await ask(await invited(world))).status).toBe(201)
  })

  it('revoked and accepted at once is one of the two', async () => {
    const world = await makeWorld()
    const { id, ...accepting } = await invited(world)
    const [joined, revoked] = await Promise.all([register(accepting), as(world)('DELETE', `/${id}`)])
    const { status } = (await as(world)('GET', `/${id}`)).data
    expect([joined.status === 201, revoked.status === 204]).toEqual([
      status === 'accepted',
      status === 'revoked',
    ])
  })

  it('is listed by how it stands', async () => {
    const world = await makeWorld()
    const ask = as(world)
    const [pending, expired, revoked, accepted] = [
      await invited(world),
      await invited(world),
      await invited(world),
      await invited(world),
    ]
    await expire(expired.id)
    await ask('DELETE', `/${revoked.id}`)
    await accept(accepted)
    for (const [status, { id }] of Object.entries({ pending, expired, revoked, accepted }))
      expect(
        (await ask<Invitation[]>('GET', `?status=${status}`)).data.map((one) => [one.id, one.status]),
      ).toEqual([[id, status]])
    expect((await ask('GET', '?status=open')).status).toBe(422)
  })

  it('has a version, which its end in time changes too', async () => {
    const world = await makeWorld()
    const { id } = await invited(world)
    const etag = async () => (await as(world)('GET', `/${id}`)).headers.get('ETag')
    expect(await etag()).toBe('"v1"')
    await expire(id)
    expect(await etag()).toBe('"v1.1"')
    const stale = await as(world)('DELETE', `/${id}`, undefined, { 'If-Match': '"v9"' })
    expect(stale.error.code).toBe('precondition_failed')
    expect((await as(world)('DELETE', `/${id}`, undefined, { 'If-Match': '"v1.1"' })).status).toBe(204)
  })

  it('goes to an address five times an hour, whoever invites', async () => {
    const email = someone()
    const statuses: number[] = []
    for (let i = 0; i < 6; i++) statuses.push((await as(await makeWorld())('POST', '', { email })).status)
    expect(statuses).toEqual([201, 201, 201, 201, 201, 429])
    const world = await makeWorld()
    const last = await as(world)('POST', '', { email })
    expect([last.error.code, last.error.details.window]).toEqual(['rate_limited', 'invitation_mails'])
    expect(Number(last.headers.get('Retry-After'))).toBeGreaterThan(3000)
  })

  it('is another tenant’s to nobody', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const { id } = await invited(world)
    for (const [method, path] of [
      ['GET', `/${id}`],
      ['DELETE', `/${id}`],
      ['POST', `/${id}/resend`],
    ] as const)
      await expectError(call(method, `${PATH}${path}`, { token: other.admin.token }), 'not_found')
    expect((await as(world)('GET', `/${id}`)).data.status).toBe('pending')
  })
})
