import { describe, expect, it } from 'vitest'
import { call, makeWorld } from '../world'

// The chat guide's and the version 2 documents' own examples of authentication.

const json = async (response: Response) => (await response.json()) as Record<string, unknown>

describe('the chat guide’s /api/auth', () => {
  it('registers into an open team, logs in with cookies and reads the user', async () => {
    const world = await makeWorld({ settings: { open_registration: true } })
    const email = `user-${crypto.randomUUID().slice(0, 8)}@example.com`
    const registered = await call('POST', '/api/auth/register', {
      body: { email, password: 'SecurePass123', full_name: 'John Doe', team_id: world.tenant.id },
    })
    expect(registered.status).toBe(201)
    expect(await json(registered)).toMatchObject({
      team_id: world.tenant.id,
      email,
      full_name: 'John Doe',
      role: 'user',
      is_active: true,
    })

    const login = await call('POST', '/api/auth/login', { body: { email, password: 'SecurePass123' } })
    expect(login.status).toBe(200)
    expect(await json(login)).toEqual({ message: 'Login successful' })
    const jar = login.headers.getSetCookie().map((cookie) => cookie.split(';')[0])
    expect(jar.map((cookie) => cookie?.split('=')[0]).sort()).toEqual([
      'access_token',
      'login_device',
      'refresh_token',
    ])

    const me = await call('GET', '/api/auth/me', { headers: { Cookie: jar.join('; ') } })
    expect(me.status).toBe(200)
    const user = await json(me)
    expect(user).toMatchObject({
      team_id: world.tenant.id,
      role: 'user',
      is_active: true,
      avatar: null,
      preferences: {},
    })
    expect(user.last_login_at).toMatch(/^\d{4}-/)

    const refreshed = await call('POST', '/api/auth/refresh', { headers: { Cookie: jar.join('; ') } })
    expect(await json(refreshed)).toEqual({ message: 'Token refreshed' })
  })

  it('says "Team not found" for a team there is not', async () => {
    const answer = await call('POST', '/api/auth/register', {
      body: {
        email: 'a@example.com',
        password: 'SecurePass123',
        team_id: '550e8400-e29b-41d4-a716-446655440001',
      },
    })
    expect(answer.status).toBe(404)
    expect(((await json(answer)).error as { message: string }).message).toBe('Team not found')
  })
})

describe('version 2’s /api/v2/auth', () => {
  it('registers a network of one’s own and logs in, bare', async () => {
    const email = `net-${crypto.randomUUID().slice(0, 8)}@example.com`
    const registered = await json(
      await call('POST', '/api/v2/auth/register', { body: { email, password: 'a long and unusual phrase' } }),
    )
    expect(registered.id).toBe(registered.tenant_id)
    const login = await json(
      await call('POST', '/api/v2/auth/login', { body: { email, password: 'a long and unusual phrase' } }),
    )
    expect(login).toMatchObject({ token_type: 'Bearer', expires_in: 900 })
    const me = await json(await call('GET', '/api/v2/auth/me', { token: String(login.access_token) }))
    expect(me.id).toBe(registered.id)
  })

  it('refuses the documents’ own password as too common, naming the field', async () => {
    const answer = await call('POST', '/api/v2/auth/register', {
      body: { email: 'test@example.com', password: 'password123' },
    })
    expect(answer.status).toBe(422)
    const { error } = (await json(answer)) as { error: { details: { fields: Record<string, string> } } }
    expect(error.details.fields.password).toMatch(/commonest/)
  })
})
