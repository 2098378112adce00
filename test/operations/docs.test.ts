import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { app } from '../../src/app'
import { readDocument } from '../../src/domains/operations/docs/deployed'
import type { Bindings } from '../../src/env'
import { call } from '../world'

const ask = (path: string, changed: Record<string, string>) =>
  app.fetch(
    new Request(`https://causeway.example${path}`),
    { ...env, PUBLIC_URL: 'https://causeway.example', ...changed },
    createExecutionContext(),
  )

const production = {
  ENVIRONMENT: 'production',
  MASTER_KEY: 'a-long-enough-master-key-of-production',
  ALLOW_PRIVATE_TARGETS: 'false',
}

describe('the documentation pages', () => {
  it.each(['/docs', '/redoc'])('%s runs its own script only, and asks no other host', async (path) => {
    const answer = await call('GET', path)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('Content-Type')).toContain('text/html')
    const policy = answer.headers.get('Content-Security-Policy') ?? ''
    const html = await answer.text()
    const nonce = /<script nonce="([^"]+)">/.exec(html)?.[1]
    expect(policy).toContain(`script-src 'self' 'nonce-${nonce}'`)
    expect(policy).toContain("default-src 'none'")
    expect(html).not.toMatch(/https?:\/\//)
    const again = await (await call('GET', path)).text()
    expect(again).not.toContain(nonce)
  })

  it.each(['swagger-ui.css', 'swagger-ui-bundle.js', 'redoc.standalone.js'])(
    'load %s from the service',
    async (file) => {
      const answer = await call('GET', `/docs/${file}`)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('Content-Type')).toMatch(file.endsWith('css') ? 'text/css' : 'javascript')
      expect((await answer.arrayBuffer()).byteLength).toBeGreaterThan(100_000)
    },
  )

  it('load no logo from elsewhere', async () => {
    expect(await (await call('GET', '/docs/redoc.standalone.js')).text()).not.toContain('cdn.redoc.ly')
  })

  it('have an icon', async () => {
    expect((await call('GET', '/favicon.svg')).headers.get('Content-Type')).toContain('image/svg+xml')
  })

  it('hand out nothing else', async () => {
    const answer = await call('GET', '/docs/swagger-ui.LICENSE')
    expect([answer.status, (await answer.json<{ error: { code: string } }>()).error.code]).toEqual([
      404,
      'route_not_found',
    ])
  })
})

describe('where the documentation is off', () => {
  it.each(['/docs', '/redoc', '/docs/swagger-ui.css'])('%s is not there', async (path) => {
    expect((await ask(path, { DOCS_ENABLED: 'false' })).status).toBe(404)
    expect((await ask(path, production)).status).toBe(404)
    expect((await ask(path, { ...production, DOCS_ENABLED: 'true' })).status).toBe(200)
  })

  it('the document is there all the same', async () => {
    const answer = await ask('/openapi.json', production)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ servers: [{ url: 'https://causeway.example' }] })
  })
})

describe('the document as it is deployed', () => {
  it('is a file among the assets, read once; without it nothing is made up', async () => {
    const asked: string[] = []
    let status = 404
    const fetch = async (url: string) => {
      asked.push(new URL(url).pathname)
      return new Response('{"openapi":"3.1.0"}', { status })
    }
    const bindings = { ASSETS: { fetch } } as unknown as Bindings
    await expect(readDocument(app, bindings)).rejects.toThrow('openapi.json is not among the assets (404)')
    status = 200
    for (let i = 0; i < 2; i++) expect(await readDocument(app, bindings)).toBe('{"openapi":"3.1.0"}')
    expect(asked).toEqual(['/openapi.json', '/openapi.json'])
  })
})
