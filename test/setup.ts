import { applyD1Migrations } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterAll, aroundEach, expect } from 'vitest'
import { explain, listen } from './explain'
import { asTest } from './own-timers'

await applyD1Migrations(env.DB, env.TEST_MIGRATIONS)

listen()

aroundEach(asTest)

// What the service said to D1 in these tests is found by an index (test/explain.ts).
afterAll(async () => {
  expect(await explain()).toEqual([])
})
