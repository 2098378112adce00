import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import worker from '../../src/index'
import { call, makeWorld, type World } from '../world'
import { expectError } from './expect-error'

// The documents' paths read a body before its handler does: what they do with a bad one is the handler's answer.

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const path = () => `/api/v2/${world.tenant.id}/interactions/register`
const json = { 'Content-Type': 'application/json' }
const send = (raw: BodyInit, headers: Record<string, string> = json) =>
  call('POST', path(), { token: world.member.token, headers, raw })

describe('a body on a documented path', () => {
  it('that is good is taken', async () => {
    expect((await send('{"text":"hello"}')).status).toBe(201)
    expect((await send('text=hello', { 'Content-Type': 'application/x-www-form-urlencoded' })).status).toBe(
      201,
    )
  })

  it('that is not JSON or not UTF-8 is refused', async () => {
    await expectError(send('{"text":'), 'malformed_json')
    const bytes = new Uint8Array([...new TextEncoder().encode('{"text":"a'), 0xff, 0x22, 0x7d])
    await expectError(send(bytes), 'malformed_json')
  })

  it('that is nested beyond use is refused', async () => {
    await expectError(
      send(`{"text":"a","metadata":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`),
      'validation_failed',
    )
  })

  it('over its limit is refused, and read no further', async () => {
    await expectError(send(`{"text":"${'x'.repeat(1024 * 1024)}"}`), 'body_too_large')
    let pulled = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled += 1
        controller.enqueue(new Uint8Array(64 * 1024).fill(0x20))
        if (pulled > 200) controller.close()
      },
    })
    const headers = { ...json, Authorization: `Bearer ${world.member.token}` }
    const request = new Request(`http://localhost:8787${path()}`, { method: 'POST', headers, body: endless })
    await expectError(worker.fetch(request, env, createExecutionContext()), 'body_too_large')
    expect(pulled).toBeLessThan(40)
  })

  it('of a stranger is refused before it is anything', async () => {
    const other = await makeWorld()
    await expectError(
      call('POST', path(), { token: other.member.token, body: { text: 'a' } }),
      'tenant_mismatch',
    )
    await expectError(call('POST', path(), { body: { text: 'a' } }), 'credential_required')
  })
})
