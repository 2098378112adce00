import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { fileOf } from '../../src/domains/audit/export'
import { exportAudit } from '../../src/domains/audit/service'
import { call, makePlatformAdmin, makeWorld, type World } from '../world'
import { byHand, makeLogless, record } from './kit'

const get = (world: World, query: string, accept?: string) =>
  call('GET', `/api/v1/audit/export${query}`, {
    token: world.admin.token,
    ...(accept === undefined ? {} : { headers: { Accept: accept } }),
  })

/** RFC 4180, read by its grammar. */
function parseCsv(text: string): string[][] {
  const lines: string[][] = [[]]
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy
  for (const [, quoted, plain, end] of text.matchAll(field)) {
    lines.at(-1)?.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'))
    if (end === '\r\n') lines.push([])
  }
  expect(lines.pop()).toEqual([])
  return lines
}

describe('the log as a file', () => {
  it('is NDJSON, oldest first, each line as the list shows the row', async () => {
    const world = await makeLogless()
    for (let i = 0; i < 3; i++) await record(world.ctx, { i })
    const answer = await get(world, '')
    expect(answer.headers.get('Content-Type')).toBe('application/x-ndjson; charset=utf-8')
    expect(answer.headers.get('Content-Disposition')).toMatch(
      /^attachment; filename="audit-\d{4}-\d\d-\d\d\.ndjson"$/,
    )
    expect(answer.headers.get('Cache-Control')).toBe('no-store')
    const lines = (await answer.text()).split('\n')
    expect(lines.pop()).toBe('')
    const { data } = await (await call('GET', '/api/v1/audit', { token: world.admin.token })).json<{
      data: object[]
    }>()
    expect(lines.map((line) => JSON.parse(line))).toEqual(data.reverse())
  })

  it('is CSV that a spreadsheet reads and does not run', async () => {
    const world = await makeLogless()
    const words = ['=1+1', '+1', '-1', '@SUM(A1)', '\tx', '\rx', 'plain', 'a "quoted", text\r\nof two lines']
    for (const userAgent of words) await record({ ...world.ctx, userAgent }, { '=key': '=value' })
    const answer = await get(world, '?format=csv')
    expect(answer.headers.get('Content-Type')).toBe('text/csv; charset=utf-8; header=present')
    const [head = [], ...lines] = parseCsv(await answer.text())
    const column = (name: string) => lines.map((line) => line[head.indexOf(name)])
    expect(new Set(lines.map((line) => line.length))).toEqual(new Set([head.length]))
    expect(column('user_agent')).toEqual(words.map((text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text)))
    expect(column('seq')).toEqual(words.map((_, i) => String(i + 1)))
    expect(column('after')).toEqual(words.map(() => '{"=key":"=value"}'))
    expect(column('before')).toEqual(words.map(() => ''))
  })

  it('is what Accept prefers, where the address says nothing', async () => {
    const world = await makeLogless()
    const types: [string, string, string][] = [
      ['', 'text/csv', 'text/csv'],
      ['', 'application/x-ndjson', 'application/x-ndjson'],
      ['', '*/*', 'application/x-ndjson'],
      ['?format=ndjson', 'text/csv', 'application/x-ndjson'],
      ['?format=csv', 'application/x-ndjson', 'text/csv'],
    ]
    for (const [query, accept, type] of types) {
      const answer = await get(world, query, accept)
      await answer.text()
      expect([query, accept, answer.headers.get('Content-Type')?.split(';')[0]]).toEqual([
        query,
        accept,
        type,
      ])
    }
    expect((await get(world, '?format=xlsx')).status).toBe(422)
  })

  it('has all rows that were chosen, slice by slice, and none of another tenant', async () => {
    const [world, other] = [await makeLogless(), await makeLogless()]
    const many = Array.from({ length: 1_234 }, (_, i) => i + 1).join()
    for (const one of [world, other])
      await byHand(
        one,
        `insert into audit_log (tenant_id, seq, id, actor_kind, actor_id, action, resource, resource_id, created_at)
         select ?1, value, '00000000-0000-7000-8000-000000000000', 'system', ?1, iif(value % 2, 'a.odd', 'a.even'), 'a', 'x',
           '2026-01-01T00:00:00.000Z' from json_each('[${many}]')`,
      )
    const read = async (query: string) =>
      (await (await get(world, query)).text())
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { seq: number; actor_id: string })
    const all = await read('')
    expect(all.map(({ seq }) => seq)).toEqual(Array.from({ length: 1_234 }, (_, i) => i + 1))
    expect(new Set(all.map(({ actor_id }) => actor_id))).toEqual(new Set([world.tenant.id]))
    expect((await read('?action=a.even')).map(({ seq }) => seq)).toEqual(
      Array.from({ length: 617 }, (_, i) => 2 * i + 2),
    )
    expect(await (await get(world, '?action=a.none')).text()).toBe('')
  })

  it('reads only as far as its reader does', async () => {
    const world = await makeLogless()
    const many = Array.from({ length: 2_000 }, (_, i) => i + 1).join()
    await byHand(
      world,
      `insert into audit_log (tenant_id, seq, id, actor_kind, action, resource, resource_id, created_at)
       select ?1, value, '00000000-0000-7000-8000-000000000000', 'system', 'a.b', 'a', 'x', '2026-01-01T00:00:00.000Z'
       from json_each('[${many}]')`,
    )
    let slices = 0
    async function* counted() {
      for await (const slice of exportAudit(world.ctx, {})) {
        slices += 1
        yield slice
      }
    }
    const { body, bytes } = fileOf('ndjson', counted())
    const reader = body.getReader()
    const first = await reader.read()
    await reader.cancel()
    expect(slices).toBeLessThanOrEqual(2)
    expect(await bytes).toBeGreaterThanOrEqual(first.value?.byteLength ?? Number.POSITIVE_INFINITY)
  })

  it('counts what was sent, where it ends with an error', async () => {
    async function* failing() {
      yield []
      throw new Error('gone')
    }
    const { body, bytes } = fileOf('csv', failing())
    await expect(new Response(body).text()).rejects.toThrow('gone')
    expect(await bytes).toBeGreaterThan(20)
  })

  it('ends for who acts from another tenant with what counts there', async () => {
    const [{ ctx }, { user, session_id }] = [await makeWorld(), await makePlatformAdmin()]
    const { id, email } = user
    const acting = {
      ...{ ...ctx, now: Date.now() - 60_000 },
      principal: {
        kind: 'user' as const,
        id,
        email,
        role: 'admin',
        scopes: ctx.principal.scopes,
        session_id,
      },
      impersonator: {
        ...{ kind: 'user' as const, id, tenant_id: user.tenant_id },
        ...{ role: 'platform_admin', partner_id: null },
      },
    }
    expect((await exportAudit(acting, {}).next()).value).toHaveLength(1)
    await env.DB.prepare("update sessions set ended_at = '2026-01-01T00:00:00.000Z' where id = ?")
      .bind(session_id)
      .run()
    await expect(exportAudit(acting, {}).next()).rejects.toMatchObject({ code: 'token_revoked' })
  })

  it('ends where its reader may not read any more', async () => {
    const world = await makeWorld()
    const old = { ...world.ctx, now: Date.now() - 60_000 }
    const allowed = exportAudit(old, {})
    expect((await allowed.next()).value).toHaveLength(1)
    await env.DB.prepare("update sessions set ended_at = '2026-01-01T00:00:00.000Z' where id = ?")
      .bind(world.admin.session_id)
      .run()
    await expect(exportAudit(old, {}).next()).rejects.toMatchObject({ code: 'token_revoked' })
    // The session of somebody else's tenant is none here.
    const { ctx } = await makeWorld()
    await expect(exportAudit({ ...old, principal: ctx.principal }, {}).next()).rejects.toMatchObject({
      status: 401,
    })
  })
})
