import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { allow } from '../../src/domains/tenancy/authorize'
import type { AppEnv } from '../../src/http/app-env'
import { routeOf } from '../../src/http/notes'
import { doc } from '../../src/http/route'
import { RememberingRouter } from '../../src/http/router'

const handlersOf = (router: RememberingRouter<string>, method: string, path: string) =>
  router.match(method, path)[0].map(([handler]) => handler)

describe('the router', () => {
  it('leads a path without parameters to its handlers every time, and to the same result', () => {
    const router = new RememberingRouter<string>()
    router.add('ALL', '*', 'middleware')
    router.add('GET', '/things/kinds', 'kinds')
    router.add('GET', '/things/:id', 'one')
    expect(handlersOf(router, 'GET', '/things/kinds')).toEqual(['middleware', 'kinds', 'one'])
    expect(router.match('GET', '/things/kinds')).toBe(router.match('GET', '/things/kinds'))
    expect(handlersOf(router, 'POST', '/things/kinds')).toEqual(['middleware'])
  })

  it('reads parameters anew for every path', () => {
    const router = new RememberingRouter<string>()
    router.add('GET', '/things/:id', 'one')
    const idOf = (path: string) => {
      const [, params] = router.match('GET', path)[0][0] ?? []
      return (params as Record<string, string>).id
    }
    expect([idOf('/things/1'), idOf('/things/2'), idOf('/things/1')]).toEqual(['1', '2', '1'])
  })

  it('forgets what it found when a route is added', () => {
    const router = new RememberingRouter<string>()
    router.add('GET', '/things', 'first')
    expect(handlersOf(router, 'GET', '/things')).toEqual(['first'])
    router.add('GET', '/things', 'second')
    expect(handlersOf(router, 'GET', '/things')).toEqual(['first', 'second'])
  })

  it('remembers nothing that a caller made up', () => {
    const router = new RememberingRouter<string>()
    router.add('ALL', '*', 'middleware')
    router.add('GET', '/things', 'all')
    expect(router.match('GET', '/made-up')).not.toBe(router.match('GET', '/made-up'))
    expect(router.match('MADEUP', '/things')).not.toBe(router.match('MADEUP', '/things'))
  })

  it('does not run what is only a note, and keeps what it says', async () => {
    const seen: string[] = []
    const app = new Hono<AppEnv>({ router: new RememberingRouter() })
    app.use(async (c, next) => {
      const { pattern, note } = routeOf(c)
      seen.push(`${pattern} ${note?.summary} ${note?.scopes}`)
      await next()
    })
    app.get('/things/kinds', doc('List kinds'), allow('agents:read'), (c) => c.text(`${c.req.routeIndex}`))
    app.get('/things/:id', doc('Read one'), allow('chats:read'), (c) => c.text(`${c.req.routeIndex}`))
    app.post('/things', doc('Make one'), async (_c, next) => next())
    app.post('/things', (c) => c.text('made'))
    // One middleware stands before each: the handler is the second that runs.
    expect(await (await app.request('/things/kinds')).text()).toBe('1')
    expect(await (await app.request('/things/7')).text()).toBe('1')
    expect(await (await app.request('/things', { method: 'POST' })).text()).toBe('made')
    expect(seen).toEqual([
      // The first that matches is the one that answers.
      '/things/kinds List kinds agents:read',
      '/things/:id Read one chats:read',
      '/things Make one undefined',
    ])
  })

  it('takes side by side what Hono’s faster router refuses', async () => {
    const app = new Hono({ router: new RememberingRouter() })
    app.get('/things/by-name/:name', (c) => c.text(`name ${c.req.param('name')}`))
    app.get('/things/:id/secret', (c) => c.text(`secret of ${c.req.param('id')}`))
    expect(await (await app.request('/things/by-name/x')).text()).toBe('name x')
    expect(await (await app.request('/things/7/secret')).text()).toBe('secret of 7')
  })
})
