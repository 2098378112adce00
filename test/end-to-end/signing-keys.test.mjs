// The service signs with another key while programs ask without a pause: nobody is refused.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { call, executeSql, must, platformToken, signUp, startService } from './harness.mjs'

const kidOf = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid

test('a rotation of the signing key under load', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)
  const { key, login: own } = await signUp(service, 'acme')
  const ops = { email: 'ops@example.com', password: 'a long and unusual phrase' }
  const platform = await platformToken(service, ops)
  let person = await must(service, 'POST', '/api/v1/auth/login', { body: own })
  const old = kidOf(person.access_token)

  const next = await must(service, 'POST', '/api/platform/keys/rotate', { as: platform })
  const { keys } = await (await fetch(`${service.url}/.well-known/jwks.json`)).json()
  assert.deepEqual(keys.map(({ kid }) => kid).sort(), [old, next.kid].sort())
  // Six minutes are long for a test: its time comes in twenty seconds. The service reads its keys once a minute.
  const soon = new Date(Date.now() + 20_000).toISOString()
  await executeSql(service, `update signing_keys set signs_from = '${soon}' where kid = '${next.kid}'`)
  const refused = []
  const kids = new Set()
  let asked = 0
  let over = false
  const ask = async (as) => {
    const answer = await call(service, 'GET', '/api/v1/webhooks/event-types?built_in=true', { as })
    asked += 1
    if (answer.status !== 200) refused.push(`${answer.status} ${JSON.stringify(answer.json)}`)
  }
  const tokens = [person.access_token]
  const load = [
    ...Array.from({ length: 4 }, async (_, i) => {
      // The first token, the newest, those between, and a key.
      for (let n = i; !over; n++) {
        await ask(n % 4 === 3 ? key : tokens[n % 4 === 0 ? 0 : Math.max(0, tokens.length - 1 - (n % 4))])
        await wait(400)
      }
    }),
    (async () => {
      while (!over) {
        person = await must(service, 'POST', '/api/v1/auth/refresh', {
          body: { refresh_token: person.refresh_token },
        })
        tokens.push(person.access_token)
        kids.add(kidOf(person.access_token))
        await wait(2_000)
      }
    })(),
  ]

  for (let second = 0; second < 90 && !kids.has(next.kid); second++) await wait(1_000)
  await wait(5_000)
  over = true
  await Promise.all(load)
  assert.deepEqual([...kids].sort(), [old, next.kid].sort())
  assert.deepEqual(refused, [])
  assert.ok(asked > 100, `${asked} requests`)
})
