import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import type { AppEnv } from '../../src/http/app-env'
import { requestContext } from '../../src/http/context'
import { problemResponse } from '../../src/http/problems'
import { PROBLEMS, type ProblemCode, problem } from '../../src/lib/problem'
import { expectError } from './expect-error'

/** A service with one route, which refuses with `code`. */
function refusing(code: ProblemCode): Promise<Response> {
  const app = new Hono<AppEnv>()
  app.onError((error, c) => problemResponse(c, error))
  app.use(requestContext())
  app.get('/', () => {
    throw problem(code, 'Not now', { headers: { 'Retry-After': '7' }, details: { window: 'minute' } })
  })
  return Promise.resolve(app.request('http://localhost:8787/', {}, env, createExecutionContext()))
}

describe('a refusal of any code', () => {
  for (const code of Object.keys(PROBLEMS) as ProblemCode[])
    it(`${PROBLEMS[code].status} ${code}: has the one shape, its headers and its details`, async () => {
      const answer = await refusing(code)
      expect(answer.headers.get('Retry-After')).toBe('7')
      const kind: { status: number; retryable?: boolean } = PROBLEMS[code]
      const body = await answer.clone().json<{ error: { retryable: boolean } }>()
      expect(body.error.retryable).toBe(kind.retryable ?? false)
      if (answer.status === 401 || answer.status === 405) return
      expect((await expectError(answer, code)).details).toEqual({ window: 'minute' })
    })
})
