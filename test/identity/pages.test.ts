import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { call, makePlatformAdmin } from '../world'
import { someone } from './kit'

const linksTo = async (email: string) =>
  (
    await env.DB.prepare('select text from mails where "to" = ?').bind(email).all<{ text: string }>()
  ).results.flatMap(({ text }) => text.match(/https?:\/\/\S+/g) ?? [])

describe('the pages that mails lead to', () => {
  it('are there for every link that is mailed, and take no script but their own', async () => {
    const email = someone()
    const password = 'a long and unusual phrase'
    await call('POST', '/api/v1/auth/register', { body: { email, password } })
    await call('POST', '/api/v1/auth/password/forgot', { body: { email } })
    const { token } = await makePlatformAdmin()
    const slug = `p-${crypto.randomUUID().slice(0, 8)}`
    await call('POST', '/api/platform/tenants', { token, body: { name: 'P', slug, admin_email: email } })
    await expect.poll(() => linksTo(email)).toHaveLength(3)
    for (const link of await linksTo(email)) {
      const { pathname, hash, search } = new URL(link)
      expect([pathname, search, hash]).toEqual([pathname, '', expect.stringMatching(/^#token=[\w-]{43}$/)])
      const page = await call('GET', pathname)
      expect([pathname, page.status, page.headers.get('Content-Type')]).toEqual([
        pathname,
        200,
        'text/html; charset=utf-8',
      ])
      expect(page.headers.get('Content-Security-Policy')).toContain("script-src 'self'; ")
      expect(page.headers.get('Cache-Control')).toBe('no-store')
      for (const [, file] of (await page.text()).matchAll(/(?:src|href)="(\/account\/[^"]+)"/g)) {
        const found = await call('GET', file ?? '')
        expect([file, found.status]).toEqual([file, 200])
        await found.body?.cancel()
      }
    }
    expect((await call('GET', '/account/nothing.js')).status).toBe(404)
  })
})
