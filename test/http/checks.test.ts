import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import type { AppEnv } from '../../src/http/app-env'
import { type Check, inOrder } from '../../src/http/checks'

function ask(...checks: Check[]): Promise<Response> {
  const app = new Hono<AppEnv>()
  app.onError((error) => new Response(error.message, { status: 500 }))
  app.use(async (c, next) => (await inOrder(checks, c)) ?? next())
  app.get('/', (c) => c.text('passed'))
  return Promise.resolve(app.request('/'))
}

describe('checks in order', () => {
  it('run one after the other, each waiting for the one before', async () => {
    const seen: string[] = []
    const slow: Check = async () => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      seen.push('slow')
    }
    const quick: Check = () => {
      seen.push('quick')
    }
    expect(await (await ask(slow, quick)).text()).toBe('passed')
    expect(seen).toEqual(['slow', 'quick'])
  })

  it('end with the first that answers', async () => {
    let asked = false
    const answer = await ask(
      () => new Response('stop', { status: 308 }),
      () => {
        asked = true
      },
    )
    expect([answer.status, await answer.text(), asked]).toEqual([308, 'stop', false])
  })

  it('end with the first that throws, at once or later', async () => {
    const thrown: Check = () => {
      throw new Error('refused')
    }
    const rejected: Check = async () => {
      throw new Error('refused later')
    }
    expect(await (await ask(thrown)).text()).toBe('refused')
    expect(await (await ask(rejected)).text()).toBe('refused later')
  })
})
