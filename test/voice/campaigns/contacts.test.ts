import { describe, expect, it } from 'vitest'
import type { Job } from '../../../src/domains/jobs/schema'
import { getCampaign } from '../../../src/domains/voice/campaigns/service'
import { upload } from '../../files/kit'
import { endedJob } from '../../jobs/kit'
import { rowsRead } from '../../rows-read'
import { call, callJson } from '../../world'
import { contactsOf, expectRefused, makeCaller, makeCampaign, post, read, sendCsv } from './kit'

const number = (i: number) => `+1415555${String(i).padStart(4, '0')}`

describe('contacts', () => {
  it('come as CSV: the good ones are kept, each of the others is named with its line', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const { status, data } = await sendCsv(
      world,
      id,
      [
        '\ufeffPhone,NAME,timezone,metadata.plan,metadata.city',
        `${number(1)},"Lovelace, Ada",America/New_York,Gold,"New\nYork"`,
        '',
        '0170 1234567,No country,,,',
        '+1 415 555 0100,Spaces,,,',
        `${number(2)},"a "quote" in between",,,`,
        `${number(3)},Nowhere,Mars/Olympus,,`,
        `${number(4)},too,few`,
        `'${number(5)},Kept as text by a spreadsheet,,,`,
        ',No number,,,',
        `${number(6)},,,,`,
        `${number(7)},"never closed,,,`,
        `${number(8)},Bob,,,`,
      ].join('\r\n'),
    )
    expect(status).toBe(200)
    const { errors, ...counts } = data
    expect(counts).toEqual({ lines: 11, created: 4, merged: 0, failed: 7 })
    const phone = expect.stringContaining('E.164')
    expect(errors).toEqual([
      { line: 5, phone: '0170 1234567', fields: { phone } },
      { line: 6, phone: '+1 415 555 0100', fields: { phone } },
      { line: 7, phone: null, fields: { line: expect.stringContaining('quote') } },
      { line: 8, phone: number(3), fields: { timezone: expect.stringContaining('Europe/Berlin') } },
      { line: 9, phone: null, fields: { line: 'has 3 fields, and the header 5' } },
      { line: 11, phone: '', fields: { phone } },
      { line: 13, phone: null, fields: { line: expect.stringContaining('quote') } },
    ])
    const rows = await contactsOf(world, id)
    expect(rows.map((row) => row.phone)).toEqual([8, 6, 5, 1].map(number))
    expect(rows.at(-1)).toMatchObject({
      ...{ name: 'Lovelace, Ada', timezone: 'America/New_York', status: 'pending', attempts: 0 },
      ...{ metadata: { plan: 'Gold', city: 'New\nYork' }, call_id: null },
    })
    expect(rows[1]).toMatchObject({ name: null, timezone: null, metadata: {} })
    expect((await read(world, id)).contacts).toEqual({
      ...{ total: 4, pending: 4, calling: 0, completed: 0, no_answer: 0, failed: 0 },
    })
  })

  it('come with semicolons or tabs, in latin letters or not, and never as UTF-16', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    expect((await sendCsv(world, id, `phone;name\n${number(1)};Zoë\n`)).data).toMatchObject({ created: 1 })
    expect((await sendCsv(world, id, `name\tphone\n李\t${number(2)}`)).data).toMatchObject({ created: 1 })
    const latin = new Uint8Array([...`phone,name\n${number(3)},Zo`].map((c) => c.charCodeAt(0)).concat(0xeb))
    expect((await sendCsv(world, id, latin)).data.errors).toEqual([
      { line: 2, phone: null, fields: { line: 'is not UTF-8' } },
    ])
    const utf16 = new Uint8Array([0xff, 0xfe, 0x70, 0])
    expectRefused(await sendCsv(world, id, utf16), 'malformed_body')
    expect((await contactsOf(world, id)).map(({ name }) => name)).toEqual(['李', 'Zoë'])
  })

  it('are refused whole where the header is wrong, by the name of each column', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const fieldsOf = async (text: string) => (await sendCsv(world, id, text)).error.details.fields
    expect(await fieldsOf(`name,email,name,,metadata.\n+1`)).toEqual({
      'header.email': 'is no column: use phone, name, timezone and metadata.<name>',
      'header.metadata.': 'is no column: use phone, name, timezone and metadata.<name>',
      'header.name': 'must stand there once',
      'header.4': 'must have a name',
      'header.phone': 'must be a column',
    })
    expect(await fieldsOf('')).toEqual({ header: 'must be the first line, with phone in it' })
    expect(await fieldsOf('phone\n')).toEqual({ body: 'must have at least one contact' })
    expect((await read(world, id)).contacts.total).toBe(0)
    const sent = await call('POST', `/api/v1/campaigns/${id}/contacts`, {
      ...{ token: world.developer.token, raw: 'phone', headers: { 'Content-Type': 'text/plain' } },
    })
    expect(sent.status).toBe(415)
  })

  it('come as JSON, with whatever is known of them', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const { data } = await post<{ errors: unknown[] }>(world, `/${id}/contacts`, [
      { phone: number(1), metadata: { orders: [1, { id: 2 }] } },
      { phone: 14155550100 },
      'what',
      { phone: number(2), email: 'a@b.c', metadata: { text: 'x'.repeat(5_000) } },
      { phone: number(3), timezone: null, name: null },
    ])
    expect(data).toMatchObject({ lines: 5, created: 2, merged: 0, failed: 3 })
    expect(data.errors).toEqual([
      { line: 2, phone: null, fields: { phone: expect.stringContaining('E.164') } },
      { line: 3, phone: null, fields: { line: 'must be a contact, as an object' } },
      {
        ...{ line: 4, phone: number(2) },
        fields: { metadata: 'must be at most 4096 bytes of JSON', email: expect.any(String) },
      },
    ])
    expect((await contactsOf(world, id)).at(-1)?.metadata).toEqual({ orders: [1, { id: 2 }] })
    expectRefused(await post(world, `/${id}/contacts`, {}), 'validation_failed')
    expectRefused(await post(world, `/${id}/contacts`, []), 'validation_failed')
  })

  it('have one name for a time zone, however it is written; an offset is none', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const zones = [
      'eUrOpE/bErLiN',
      'EUROPE/berlin',
      'Asia/Kolkata',
      'US/Eastern',
      'Etc/GMT+5',
      'etc/gmt+5',
      'utc',
    ]
    const lines = [...zones, '+05:00', 'Mars/Base'].map((zone, i) => `${number(i)},${zone}`)
    const { data } = await sendCsv(world, id, `phone,timezone\n${lines.join('\n')}`)
    expect(data.errors.map(({ line }) => line)).toEqual([9, 10])
    const kept = (await contactsOf(world, id)).toReversed().map(({ timezone }) => timezone)
    const berlin = 'Europe/Berlin'
    expect(kept).toEqual([berlin, berlin, 'Asia/Kolkata', 'US/Eastern', 'Etc/GMT+5', 'Etc/GMT+5', 'UTC'])
    // As nobody writes it: the zone that it is another name of.
    const odd = await sendCsv(world, id, `phone,timezone\n${number(20)},aSiA/kOlKaTa`)
    expect(odd.data.created).toBe(1)
    expect((await contactsOf(world, id))[0]?.timezone).toMatch(/^Asia\/(?:Calcutta|Kolkata)$/)
  })

  it('are one for a number: what is said later counts, field by field', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const first = await sendCsv(
      world,
      id,
      `phone,name,metadata.plan\n${number(1)},Ada,Gold\n${number(2)},Bob,\n${number(1)},Ada Lovelace,\n${number(1)},,`,
    )
    expect(first.data).toMatchObject({ lines: 4, created: 2, merged: 2, failed: 0 })
    const again = await sendCsv(
      world,
      id,
      `phone,timezone,metadata.city\n${number(1)},Europe/Berlin,London\n${number(2)},,\n${number(3)},,`,
    )
    expect(again.data).toMatchObject({ lines: 3, created: 1, merged: 2, failed: 0 })
    const [, , ada] = await contactsOf(world, id)
    expect(ada).toMatchObject({ name: 'Ada Lovelace', timezone: 'Europe/Berlin' })
    expect(ada?.metadata).toEqual({ plan: 'Gold', city: 'London' })
    expect((await read(world, id)).contacts).toMatchObject({ total: 3, pending: 3 })
    const large = { phone: number(1), metadata: { text: 'x'.repeat(4_080) } }
    const full = await post<{ errors: object[] }>(world, `/${id}/contacts`, [large])
    expect(full.data.errors).toMatchObject([
      { line: 1, fields: { metadata: expect.stringContaining('4096') } },
    ])
  })

  it('are added once under one key, and counted right by many at once', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const text = `phone\n${Array.from({ length: 1_200 }, (_, i) => number(i)).join('\n')}`
    const key = { 'X-Idempotency-Key': crypto.randomUUID() }
    const first = await sendCsv(world, id, text, key)
    const repeated = await sendCsv(world, id, text, key)
    expect(repeated.headers.get('Idempotency-Replayed')).toBe('true')
    expect([first.data.created, repeated.data]).toEqual([1_200, first.data])
    const more = Array.from({ length: 8 }, (_, i) => `phone\n${number(2_000 + i)}\n${number(3_000)}`)
    const all = await Promise.all(more.map((one) => sendCsv(world, id, one)))
    expect(all.map(({ status }) => status)).toEqual(all.map(() => 200))
    expect(all.reduce((sum, { data }) => sum + data.created, 0)).toBe(9)
    expect((await read(world, id)).contacts).toMatchObject({ total: 1_209, pending: 1_209 })
  })

  it('come from a file, step by step, and are there by the same rules', { timeout: 60_000 }, async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const lines = Array.from({ length: 2_500 }, (_, i) =>
      i === 1_234 ? '12,Bad,x' : `${number(i)},"Contact\n${i}",${'x'.repeat(400)}`,
    )
    const text = `phone,name,metadata.text\n${lines.join('\n')}\n${number(7)},Again,`
    const file = await upload(world.developer, text, { filename: 'c.csv', content_type: 'text/csv' })
    const started = await post<Job>(world, `/${id}/contacts`, { file_id: file.id })
    expect([started.status, started.data.kind]).toEqual([202, 'campaigns.import'])
    const job = await endedJob(world, started.data.id)
    expect([job.status, job.progress]).toEqual(['completed', 100])
    expect(job.result).toEqual({
      ...{ lines: 2_501, created: 2_499, merged: 1, failed: 1 },
      errors: [{ line: 2 + 1_234 * 2, phone: '12', fields: { phone: expect.stringContaining('E.164') } }],
    })
    expect((await read(world, id)).contacts).toMatchObject({ total: 2_499 })
    const [seventh] = await contactsOf(world, id, `&phone=${encodeURIComponent(number(7))}`)
    expect(seventh?.name).toBe('Again')
    const wrong = await upload(world.developer, 'a,b\n1,2', { filename: 'c.csv', content_type: 'text/csv' })
    expectRefused(await post(world, `/${id}/contacts`, { file_id: wrong.id }), 'validation_failed')
    expectRefused(await post(world, `/${id}/contacts`, { file_id: crypto.randomUUID() }), 'not_found')
  })

  it('are sent to where a presign says, for that purpose', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    const body = { filename: 'c.csv', content_type: 'text/csv', size: 10 }
    const presigned = await post<{ file_id: string }>(world, `/${id}/contacts/presign`, body)
    expect(presigned.status).toBe(201)
    const file = await callJson<{ purpose: string }>('GET', `/api/v1/files/${presigned.data.file_id}`, {
      token: world.developer.token,
    })
    expect(file.data.purpose).toBe('campaign_contacts')
    const nowhere = `/${crypto.randomUUID()}/contacts/presign`
    expectRefused(await post(world, nowhere, body), 'not_found')
  })

  it('are ten thousand as soon as twenty, and cost no more to count', { timeout: 60_000 }, async () => {
    const { world, agent } = await makeCaller()
    const [small, large] = [await makeCampaign(world, agent), await makeCampaign(world, agent)]
    const text = (count: number) => `phone\n${Array.from({ length: count }, (_, i) => number(i)).join('\n')}`
    await sendCsv(world, small, text(20))
    const { data } = await sendCsv(world, large, text(10_000))
    expect(data).toMatchObject({ lines: 10_000, created: 10_000, failed: 0 })
    const readBy = (id: string) => rowsRead(world.ctx, (ctx) => getCampaign(ctx, id))
    expect([await readBy(small), await readBy(large)]).toEqual([1, 1])
    expect((await read(world, large)).contacts).toMatchObject({ total: 10_000, pending: 10_000 })
    const none = { failed: await contactsOf(world, large, '&status=failed') }
    expect(none.failed).toEqual([])
    const more = await sendCsv(world, large, text(10_001))
    expect([more.status, more.error.code]).toEqual([413, 'payload_too_large'])
  })

  it('of a campaign that has ended stay as they are', async () => {
    const { world, agent } = await makeCaller()
    const id = await makeCampaign(world, agent)
    await post(world, `/${id}/cancel`)
    expectRefused(await sendCsv(world, id, `phone\n${number(1)}`), 'conflict')
    expect((await read(world, id)).contacts.total).toBe(0)
  })
})
