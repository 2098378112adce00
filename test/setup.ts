import { applyD1Migrations } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterAll, expect } from 'vitest'
import { explain, listen } from './explain'

await applyD1Migrations(env.DB, env.TEST_MIGRATIONS)

listen()

// What the service said to D1 in these tests is found by an index (test/explain.ts).
afterAll(async () => {
  expect(await explain()).toEqual([])
})
