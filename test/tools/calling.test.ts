import { describe, expect, it } from 'vitest'
import { makeReceiver } from '../webhooks/receiver'
import { call, callJson, makeWorld } from '../world'
import { keepSecret, Model, toolOf, tryTool } from './kit'

const ANY = { type: 'object' }

describe('a call of a tool', () => {
  it('has its arguments in the path and the query of a GET, and makes no path of its own', async () => {
    const world = await makeWorld()
    const { api, called } = new Model()
    const tool = await toolOf(world, {
      ...{ name: 'look_up', method: 'GET', url: `${api}/orders/{id}/lines?lang={lang}` },
      parameters: {
        type: 'object',
        properties: { id: { type: 'string' }, lang: { type: 'string' } },
        required: ['id', 'lang'],
      },
    })
    const args = {
      id: 'A/1?x=#ü',
      lang: 'de&q=1',
      tags: ['a', 'b c'],
      at: { deep: 1 },
      none: null,
      yes: true,
    }
    const { status, data } = await tryTool(world, tool.id, args)
    expect([status, data]).toEqual([
      200,
      {
        ...{ ok: true, status: 200, error: null, duration_ms: expect.any(Number) },
        output: expect.objectContaining({ method: 'GET', body: '' }),
      },
    ])
    const [seen] = await called()
    expect(seen?.url.replace(/^.*\/api/, '')).toBe(
      '/orders/A%2F1%3Fx%3D%23%C3%BC/lines?lang=de%26q%3D1&tags=a&tags=b+c&at=%7B%22deep%22%3A1%7D&yes=true',
    )
    expect(seen?.headers).toMatchObject({
      'user-agent': 'Causeway-Tools/1',
      'idempotency-key': expect.stringMatching(/./),
      traceparent: expect.stringMatching(/^00-/),
    })
    for (const id of ['..', '.', '']) {
      const led = await tryTool(world, tool.id, { id, lang: 'x' })
      expect(led.data).toMatchObject({
        ...{ ok: false, status: null, output: null },
        error: 'id must be more than dots, since it is a part of the URL’s path',
      })
    }
    const odd = await tryTool(world, tool.id, { id: '%2e%2e', lang: '..' })
    expect((odd.data.output as { url: string }).url).toContain('/orders/%252e%252e/lines?lang=..')
    expect(await called()).toHaveLength(2)
  })

  it('has a body of JSON, or a form where its header says so', async () => {
    const world = await makeWorld()
    const { api, called } = new Model()
    const args = { id: 7, to: ['a', 'b'], note: 'grün & gut' }
    const parameters = { type: 'object', properties: { id: { type: 'integer' } }, required: ['id'] }
    const common = { url: `${api}/orders/{id}`, parameters }
    const json = await toolOf(world, { name: 'json', ...common })
    const form = await toolOf(world, {
      ...{ name: 'form', method: 'PUT', ...common },
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    })
    const gone = await toolOf(world, { name: 'gone', method: 'DELETE', ...common })
    for (const { id } of [json, form, gone]) expect((await tryTool(world, id, args)).data.ok).toBe(true)
    const seen = await called()
    expect(seen.map(({ method, headers, body }) => [method, headers['content-type'], body])).toEqual([
      ['POST', 'application/json', '{"to":["a","b"],"note":"grün & gut"}'],
      ['PUT', 'application/x-www-form-urlencoded', 'to=a&to=b&note=gr%C3%BCn+%26+gut'],
      ['DELETE', undefined, ''],
    ])
    expect(seen[2]?.url).toMatch(/\/orders\/7\?to=a&to=b/)
  })

  it('is not made with arguments that its schema does not allow: each is named', async () => {
    const world = await makeWorld()
    const { api, called } = new Model()
    const tool = await toolOf(world, {
      ...{ name: 'look_up', url: api },
      parameters: {
        type: 'object',
        properties: { id: { type: 'string' }, lines: { type: 'array', items: { type: 'integer' } } },
        required: ['id'],
        additionalProperties: false,
      },
    })
    const { status, error } = await tryTool(world, tool.id, { lines: [1, 'x'], more: 1 })
    expect([status, error.details.fields]).toEqual([
      422,
      {
        'arguments.id': 'is required by the schema',
        'arguments.lines.1': 'must be integer',
        'arguments.more': 'is not allowed by the schema',
      },
    ])
    const odd = await tryTool(world, tool.id, 'x')
    expect(odd.error.details.fields).toEqual({ arguments: 'must be a JSON object' })
    const deep = await tryTool(world, tool.id, JSON.parse(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`))
    expect(deep.error.details.fields).toEqual({ arguments: expect.stringMatching(/64 KiB/) })
    expect(await called()).toEqual([])
  })

  it('says what went wrong, in no more time and room than there is', { timeout: 60_000 }, async () => {
    const world = await makeWorld()
    const trial = async (step: object) => {
      const receiver = await makeReceiver(step)
      const tool = await toolOf(world, {
        name: `t_${crypto.randomUUID()}`,
        url: receiver.url,
        parameters: ANY,
      })
      return (await tryTool(world, tool.id)).data
    }
    const json = { 'Content-Type': 'application/json' }
    expect(await trial({ status: 404, body: 'no such\norder' })).toMatchObject({
      ...{ ok: false, status: 404, output: null, error: 'it was answered 404: no such order' },
    })
    expect(
      await trial({ status: 302, headers: { Location: 'http://127.0.0.1:1/' }, body: '' }),
    ).toMatchObject({
      ...{ status: 302, error: 'it was answered 302, and redirects are not followed' },
    })
    expect(await trial({ does: 'huge' })).toMatchObject({ status: null, error: 'its answer is over 64 KiB' })
    expect(await trial({ does: 'gzip-bomb' })).toMatchObject({ error: 'its answer is over 64 KiB' })
    expect(await trial({ does: 'reset' })).toMatchObject({
      error: expect.stringMatching(/connection failed/),
    })
    expect(await trial({ body: '{"a": ', headers: json })).toMatchObject({ ok: true, output: '{"a": ' })
    expect(await trial({ body: 'Köln' })).toMatchObject({ ok: true, output: 'Köln' })
    expect(await trial({ status: 204, body: '' })).toMatchObject({ ok: true, status: 204, output: '' })
    expect(await trial({ does: 'hang' })).toMatchObject({
      error: 'there was no complete answer within 10 seconds',
    })
  })

  it('carries its secrets to their hosts, and shows them to nobody', async () => {
    const world = await makeWorld()
    const value = 'k3y/of"the<orders>'
    await keepSecret(world, 'orders', value)
    const { api, called } = new Model()
    const headers = { Authorization: 'Bearer {{secrets.orders}}', 'X-Again': 'a {{ secrets.orders }} b' }
    const tool = await toolOf(world, { name: 'look_up', url: api, headers })
    // What an argument says is never read as a template.
    const note = '{{secrets.orders}}'
    const { data } = await tryTool(world, tool.id, { note })
    expect(data.ok).toBe(true)
    expect((await called())[0]?.body).toBe(JSON.stringify({ note }))
    expect((await called())[0]?.headers).toMatchObject({
      ...{ authorization: `Bearer ${value}`, 'x-again': `a ${value} b` },
    })
    expect(data.output).toMatchObject({
      headers: { authorization: 'Bearer ********', 'x-again': 'a ******** b' },
    })
    expect(JSON.stringify(data)).not.toContain('k3y')
    // One that quotes it as it refuses.
    const quoting = await makeReceiver({ status: 401, body: `bad key ${value}` })
    const refused = await toolOf(world, { name: 'refused', url: quoting.url, headers })
    expect((await tryTool(world, refused.id)).data.error).toBe('it was answered 401: bad key ********')
    // One that may not go there any more, and one that is gone.
    await keepSecret(world, 'orders', value, ['api.example.com'])
    expect((await tryTool(world, tool.id)).data.error).toBe(
      'a header uses {{secrets.orders}}, which may not go to 127.0.0.1',
    )
    await call('DELETE', '/api/v1/secrets/orders', { token: world.admin.token })
    expect((await tryTool(world, tool.id)).data.error).toBe(
      'a header uses {{secrets.orders}}, which is not there any more',
    )
    expect(await called()).toHaveLength(1)
  })

  it('is made once for one key', async () => {
    const world = await makeWorld()
    const { api, called } = new Model()
    const tool = await toolOf(world, { name: 'look_up', url: api })
    const again = () =>
      callJson('POST', `/api/v1/tools/${tool.id}/test`, {
        token: world.developer.token,
        headers: { 'Idempotency-Key': 'one' },
        body: {},
      })
    const [first, second] = [await again(), await again()]
    expect(second.data).toEqual(first.data)
    expect(await called()).toHaveLength(1)
  })
})
