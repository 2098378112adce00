import { expect } from 'vitest'
import type { Dialect } from '../../src/http/dialect'
import { PROBLEMS, type ProblemCode } from '../../src/lib/problem'
import { READERS } from './dialects'

export type ErrorAnswer = {
  code: string
  message: string
  details: Record<string, unknown> & { fields?: Record<string, string> }
}

/**
 * Expects the one shape of every error (http.md), or that of the protocol that the route declares, and answers with the
 * error.
 */
export async function expectError(
  response: Response | Promise<Response>,
  code: ProblemCode,
  dialect?: Dialect,
): Promise<ErrorAnswer> {
  const answer = await response
  const text = await answer.text()
  const { status, category } = PROBLEMS[code]
  const says = dialect ? '' : `"code":"${code}"`
  expect([answer.status, text]).toEqual([status, expect.stringContaining(says)])
  const body = JSON.parse(text)
  if (!dialect)
    expect(body).toEqual({
      error: {
        code,
        status,
        category,
        message: expect.stringMatching(/./),
        severity: 'error',
        retryable: expect.any(Boolean),
        recovery_hint: expect.stringMatching(/./),
        details: expect.any(Object),
        request_id: answer.headers.get('X-Request-ID'),
        correlation_id: answer.headers.get('X-Correlation-ID'),
        ts: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      },
    })
  expect(answer.headers.get('Content-Type')).toBe('application/json; charset=UTF-8')
  expect(answer.headers.get('Cache-Control')).toBe('no-store')
  expect(answer.headers.get('X-Request-ID')).toMatch(/^[A-Za-z0-9._:-]{1,128}$/)
  if (status === 401) expect(answer.headers.get('WWW-Authenticate')).toMatch(/^Bearer/)
  if (status === 405) expect(answer.headers.get('Allow')).toMatch(/^[A-Z]+(?:, [A-Z]+)*$/)
  if (!dialect) return body.error
  const read = READERS[dialect.name]
  if (!read) throw new Error(`how ${dialect.name} refuses is missing in test/http/dialects.ts`)
  return read(body, status, code)
}
