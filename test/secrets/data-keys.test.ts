import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Context } from '../../src/data/context'
import { resealAll } from '../../src/data/sealed'
import { contextFor } from '../../src/data/system'
import { decryptUnderDataKey, encryptUnderDataKey } from '../../src/domains/secrets/data-keys'
import { secretsNamed } from '../../src/domains/secrets/service'
import type { Bindings } from '../../src/env'
import { Sealer } from '../../src/lib/crypto'
import { callJson, makeWorld, requestContext, type World } from '../world'

const DAY_MS = 24 * 3600_000
/** By an isolate that has unwrapped nothing yet. */
const contextOf = (world: World, over: Partial<Context> = {}): Context => ({
  ...contextFor(
    requestContext({ env: { ...env } as unknown as Bindings }),
    world.ctx.tenant,
    world.ctx.principal,
  ),
  ...over,
})
const versionsOf = async (world: World) => {
  const rows = await env.DB.prepare('select version from data_keys where tenant_id = ? order by version')
    .bind(world.tenant.id)
    .all<{ version: number }>()
  return rows.results.map(({ version }) => version)
}

describe('a tenant’s data key', () => {
  it('is made with its first secret, once, also by two at once', async () => {
    const world = await makeWorld()
    expect(await versionsOf(world)).toEqual([])
    const ctx = contextOf(world)
    const sealed = await Promise.all(
      ['one', 'two', 'three'].map((plain) => encryptUnderDataKey(ctx, plain, plain)),
    )
    expect(await versionsOf(world)).toEqual([1])
    expect(sealed.map((text) => text.split('.')[0])).toEqual(['k1', 'k1', 'k1'])
    const opened = sealed.map((text, i) => decryptUnderDataKey(ctx, text, ['one', 'two', 'three'][i] ?? ''))
    expect(await Promise.all(opened)).toEqual(['one', 'two', 'three'])
  })

  it('opens nothing of another row, tenant or version, and nothing that was altered', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const ctx = contextOf(world)
    const sealed = await encryptUnderDataKey(ctx, 'hidden', 'row')
    await encryptUnderDataKey(contextOf(other), 'hidden', 'row')
    await expect(decryptUnderDataKey(ctx, sealed, 'another row')).rejects.toThrow()
    await expect(decryptUnderDataKey(contextOf(other), sealed, 'row')).rejects.toThrow()
    await expect(decryptUnderDataKey(ctx, sealed.replace('k1', 'k2'), 'row')).rejects.toThrow()
    const flipped = `${sealed.slice(0, -2)}${sealed.at(-2) === 'A' ? 'B' : 'A'}${sealed.at(-1)}`
    await expect(decryptUnderDataKey(ctx, flipped, 'row')).rejects.toThrow()
    expect(await decryptUnderDataKey(ctx, sealed, 'row')).toBe('hidden')
  })

  it('has a follower after ninety days, and opens as ever what it encrypted', async () => {
    const world = await makeWorld()
    const ctx = contextOf(world)
    const first = await encryptUnderDataKey(ctx, 'early', 'row')
    const later = contextOf(world, { now: ctx.now + 90 * DAY_MS })
    const second = await encryptUnderDataKey(later, 'late', 'row')
    expect(await versionsOf(world)).toEqual([1, 2])
    expect([first.slice(0, 3), second.slice(0, 3)]).toEqual(['k1.', 'k2.'])
    expect(await decryptUnderDataKey(ctx, first, 'row')).toBe('early')
    expect(await decryptUnderDataKey(ctx, second, 'row')).toBe('late')
  })

  it('can be used while it is wrapped anew', async () => {
    const world = await makeWorld()
    const ctx = contextOf(world)
    const sealed = await encryptUnderDataKey(ctx, 'hidden', 'row')
    const { MASTER_KEY: old } = ctx.settings
    const next = 'another master key, of thirty-two characters and more'
    const both = { ...ctx.settings, MASTER_KEY: next, MASTER_KEY_PREVIOUS: [old] }
    try {
      await resealAll(env as unknown as Bindings, { MASTER_KEY: next, MASTER_KEY_PREVIOUS: [old] })
      // Wrapped by the new one alone by now; who knows that one as well goes on.
      expect(await decryptUnderDataKey(contextOf(world, { settings: both }), sealed, 'row')).toBe('hidden')
      const alone = { ...ctx.settings, MASTER_KEY: next, MASTER_KEY_PREVIOUS: [] }
      expect(await decryptUnderDataKey(contextOf(world, { settings: alone }), sealed, 'row')).toBe('hidden')
    } finally {
      await resealAll(env as unknown as Bindings, { MASTER_KEY: old, MASTER_KEY_PREVIOUS: [next] })
    }
    expect(await decryptUnderDataKey(ctx, sealed, 'row')).toBe('hidden')
  })

  it('leaves a secret from before there were any to the master key, until it is set again', async () => {
    const world = await makeWorld()
    const put = (value: string) =>
      callJson('PUT', '/api/v1/secrets/billing', {
        token: world.admin.token,
        body: { value, hosts: ['api.example.com'] },
      })
    await put('as it is now')
    const ctx = contextOf(world)
    const row = await env.DB.prepare('select id from secrets where tenant_id = ?')
      .bind(world.tenant.id)
      .first<{ id: string }>()
    const sealed = await new Sealer(ctx.settings, 'secret').seal('before', `${world.tenant.id}/${row?.id}`)
    await env.DB.prepare('update secrets set value = ? where tenant_id = ?')
      .bind(sealed, world.tenant.id)
      .run()
    const value = async () => (await secretsNamed(ctx, ['billing'])).get('billing')?.open()
    expect(await value()).toBe('before')
    await put('again')
    expect(await value()).toBe('again')
  })
})
