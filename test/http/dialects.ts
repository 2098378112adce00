import { expect } from 'vitest'
import type { ProblemCode } from '../../src/lib/problem'
import type { ErrorAnswer } from './expect-error'

type Reader = (body: Record<string, unknown>, status: number, code: ProblemCode) => ErrorAnswer

type SvixDetail = { loc: string[]; msg: string; type: string }[]

const UNAUTHENTICATED = [
  ...['credential_required', 'invalid_token', 'token_expired', 'token_revoked', 'invalid_api_key'],
  'ambiguous_credentials',
]

/** Svix: a list of wrong fields by their places under 422, a code and a text under every other status. */
const svix: Reader = (body, status, code) => {
  if (status !== 422) {
    const theirs: string = UNAUTHENTICATED.includes(code) ? 'authentication_failed' : code
    const detail = expect.stringMatching(/\. ./)
    expect(body).toEqual({ code: code === 'already_exists' ? 'conflict' : theirs, detail })
    const text = String(body.detail)
    const details = /Details: (\{.*\})$/.exec(text)?.[1] ?? '{}'
    return { code, message: text, details: JSON.parse(details) }
  }
  expect(Object.keys(body)).toEqual(['detail'])
  const detail = body.detail as SvixDetail
  const fields: Record<string, string> = {}
  for (const { loc, msg, type } of detail) {
    expect([msg, type]).toEqual([expect.stringMatching(/./), expect.stringMatching(/^[a-z_]+$/)])
    const [place = '', ...path] = loc
    expect(['body', 'query', 'path', 'header']).toContain(place)
    fields[path.join('.') || place] = msg
  }
  expect(Object.keys(fields).length).toBeGreaterThan(0)
  return { code, message: '', details: { fields } }
}

/** OpenAI: one error with a type, a code and the first field that is wrong; its text names all of them. */
const openai: Reader = (body, status, code) => {
  expect(Object.keys(body)).toEqual(['error'])
  const error = body.error as Record<string, string | null>
  const named: Partial<Record<ProblemCode, string>> = {
    ...{ credential_required: 'invalid_api_key', invalid_token: 'invalid_api_key' },
    rate_limited: 'rate_limit_exceeded',
  }
  const theirs = code === 'not_found' ? expect.stringMatching(/not_found$/) : (named[code] ?? code)
  const param = status === 422 || error.code === 'model_not_found' ? expect.any(String) : null
  expect(error).toEqual({
    message: expect.stringMatching(/./),
    type: expect.any(String),
    param,
    code: theirs,
  })
  const message = String(error.message)
  if (code !== 'validation_failed') {
    const details = /Details: (\{.*\})$/.exec(message)?.[1] ?? '{}'
    return { code, message, details: JSON.parse(details) }
  }
  const fields: Record<string, string> = {}
  for (const one of message.split('; ')) {
    const [, name = '', wrong = ''] = /^([\w.]+): (.+)$/.exec(one) ?? []
    fields[name] = wrong
  }
  expect(Object.keys(fields)[0]).toBe(error.param)
  return { code, message, details: { fields } }
}

/** How the refusals of other products' protocols read, by the name that a route declares. */
export const READERS: Record<string, Reader> = { svix, openai }
