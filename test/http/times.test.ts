import { beforeAll, expect, it } from 'vitest'
import { call, callJson, makeWorld, type World } from '../world'
import { expectError } from './expect-error'

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

// Times are compared as they are written, so each must have four digits of a year in UTC.
const BEYOND = ['9999-12-31T23:59:59-23:00', '0000-01-01T00:00:00+23:00']
const word = 'must lie in the years 0000 to 9999 in UTC'

for (const time of BEYOND)
  it(`${time} is refused wherever a time is taken`, async () => {
    const { token } = world.admin
    const fieldsOf = async (answer: Promise<Response>) =>
      (await expectError(answer, 'validation_failed')).details.fields
    const post = (path: string, body: unknown) => fieldsOf(call('POST', path, { token, body }))
    const get = (path: string) => fieldsOf(call('GET', path, { token }))
    const at = encodeURIComponent(time)
    expect(await post('/api/v1/interactions', { text: 'a', occurred_at: time })).toEqual({
      occurred_at: word,
    })
    expect(await post('/api/v1/events', { type: 'order.shipped', data: {}, occurred_at: time })).toEqual({
      occurred_at: word,
    })
    expect(await post('/api/v1/auth/api-keys', { name: 'k', expires_at: time })).toHaveProperty('expires_at')
    for (const list of ['interactions', 'events', 'deliveries'])
      expect(await get(`/api/v1/${list}?created_after=${at}`)).toEqual({ created_after: word })
  })

it('the last moment there is makes a key that works', async () => {
  const made = await callJson('POST', '/api/v1/auth/api-keys', {
    token: world.admin.token,
    body: { name: 'k', expires_at: '9999-12-31T23:59:59Z' },
  })
  expect(made.status).toBe(201)
})

it('a fraction of a limit is refused by what a limit is', async () => {
  for (const limit of ['1.5', '', 'x', '0', '101']) {
    const answer = call('GET', `/api/v1/interactions?limit=${limit}`, { token: world.admin.token })
    const error = await expectError(answer, 'validation_failed')
    expect(error.details.fields).toEqual({ limit: 'must be a whole number from 1 to 100' })
  }
})

it('more slashes than one are another path', async () => {
  await expectError(call('GET', '/api/v1/auth/me//', { token: world.admin.token }), 'route_not_found')
  expect((await call('GET', '/api/v1/auth/me/', { token: world.admin.token })).status).toBe(200)
  await expectError(call('POST', '/api/v1/auth/me/', { token: world.admin.token }), 'method_not_allowed')
})
