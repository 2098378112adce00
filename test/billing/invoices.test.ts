import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { allSweeps } from '../../src/data/sweeping'
import { systemContext } from '../../src/data/system'
import { invoiceMonth } from '../../src/domains/billing/invoices/monthly'
import { printInvoice } from '../../src/domains/billing/invoices/print'
import type { InvoiceRow } from '../../src/domains/billing/invoices/table'
import type { Bindings } from '../../src/env'
import { call, callJson, makeWorld, type World } from '../world'
import { announced, atStripe, hear, makeBuyer, makeSubscriber, read } from './kit'
import { faultsOf, pagesOf } from './pdf'

const bindings = env as unknown as Bindings

type Invoice = {
  id: string
  number: string | null
  status: string
  amount_due: number
  amount_paid: number
  period_start: string
  period_end: string
  lines: { description: string; quantity: number; unit_amount: number; amount: number }[]
  pdf_url: string | null
  issued_at: string | null
}

const invoices = (world: World, query = '') => read<Invoice[]>(world, `invoices${query}`)

/** What a tenant had in a month that is over, straight into the ledger and the checkouts. */
async function had(world: World, month: string, rows: [kind: string, amount: number][]) {
  let balance = 0
  const at = `${month}-10T00:00:00.000Z`
  for (const [i, [kind, amount]] of rows.entries()) {
    balance += amount
    const seq = Number(month.replace('-', '')) * 100 + i
    await env.DB.prepare(
      `insert into credit_transactions (tenant_id, seq, id, kind, amount, balance_after, created_at) values (?, ?, ?, ?, ?, ?, ?)`,
    )
      .bind(world.tenant.id, seq, crypto.randomUUID(), kind, amount, balance, at)
      .run()
    if (kind === 'purchase')
      await env.DB.prepare(
        `insert into checkouts (tenant_id, id, kind, credits, amount, currency, status, provider, session_id, url, success_url,
           expires_at, completed_at, created_at, updated_at) values (?, ?, 'credits', ?, ?, 'usd', 'completed', 'simulated', ?, '', '', ?, ?, ?, ?)`,
      )
        .bind(world.tenant.id, crypto.randomUUID(), amount, amount / 2, crypto.randomUUID(), at, at, at, at)
        .run()
  }
}

/** Calls that end now, after so many seconds; null: nobody answered. */
async function called(world: World, durations: (number | null)[]) {
  const now = new Date().toISOString()
  for (const seconds of durations) {
    const id = crypto.randomUUID()
    await env.DB.prepare(
      `insert into calls (tenant_id, id, agent_id, "to", "from", status, provider, credits_per_minute, reserved,
         max_duration_seconds, metadata, created_at, updated_at) values (?, ?, '', '', '', 'queued', 'test', 0, 0, 1, '{}', ?, ?)`,
    )
      .bind(world.tenant.id, id, now, now)
      .run()
    const end = env.DB.prepare(
      'update calls set ended_at = ?, duration_seconds = ? where tenant_id = ? and id = ?',
    )
    await end.bind(now, seconds, world.tenant.id, id).run()
    // What is said of it later counts it no more.
    await end.bind(now, seconds, world.tenant.id, id).run()
  }
}

/** Where nobody takes payments. */
const system = (world: World) =>
  systemContext(
    { ...bindings, PAYMENTS: '' } as unknown as Bindings,
    world.ctx.tenant,
    'test',
    () => undefined,
  )

/** What is due by the clock, where nobody takes payments. */
async function sweep(now: number, settings: Record<string, unknown> = { PAYMENTS: '' }): Promise<void> {
  const look = allSweeps().get('months_not_invoiced')
  if (!look) throw new Error('no sweep')
  const execution = { waitUntil: () => undefined }
  const env = { ...bindings, ...settings } as Bindings
  // Others' months may be due before.
  while ((await look(env, execution, now)) > 0);
}

describe('an invoice of the ledger', () => {
  it('is one a month, of what was bought and used, under numbers without a gap', async () => {
    const world = await makeWorld()
    await had(world, '2026-01', [
      ['grant', 100],
      ['purchase', 1_000],
      ['purchase', 1_000],
      ['purchase', 500],
      ['reserve', -50],
      ['release', 50],
      ['spend', -700],
    ])
    await had(world, '2026-02', [['grant', 5]])
    await sweep(Date.parse('2026-03-01T00:30:00.000Z'))
    // An hour of grace: February is not invoiced yet.
    expect((await invoices(world)).map(({ number }) => number?.slice(-4))).toEqual(['0001'])
    await sweep(Date.parse('2026-03-01T01:00:00.001Z'))
    await sweep(Date.parse('2026-03-01T02:00:00.000Z'))
    const [february, january, ...others] = await invoices(world)
    expect(others).toEqual([])
    expect(january).toMatchObject({
      ...{ status: 'paid', currency: 'usd', amount_due: 1_250, amount_paid: 1_250 },
      ...{ period_start: '2026-01-01T00:00:00.000Z', period_end: '2026-02-01T00:00:00.000Z' },
      lines: [
        { description: '1,000 credits', quantity: 2, unit_amount: 500, amount: 1_000 },
        { description: '500 credits', quantity: 1, unit_amount: 250, amount: 250 },
        { description: 'Credits given by the platform', quantity: 100, unit_amount: 0, amount: 0 },
        { description: 'Credits used, paid for in advance', quantity: 700, unit_amount: 0, amount: 0 },
      ],
    })
    expect(february).toMatchObject({ amount_due: 0, number: expect.stringMatching(/-0002$/) })
    expect(await announced(world, 'billing.invoice.issued')).toHaveLength(2)
    expect(await invoices(world, '?status=open')).toEqual([])
    expect(await invoices(world, '?status=paid')).toHaveLength(2)
  })

  it('is made once, by however many at once, and once more after what a crash left', async () => {
    const world = await makeWorld()
    await had(world, '2025-12', [['grant', 10]])
    await Promise.all(Array.from({ length: 8 }, () => invoiceMonth(system(world), '2025-12')))
    expect(await invoices(world)).toHaveLength(1)
    // As if the month had not been marked: what is there already is not made again.
    await env.DB.prepare('update credit_months set invoiced = 0 where tenant_id = ?')
      .bind(world.tenant.id)
      .run()
    await invoiceMonth(system(world), '2025-12')
    expect(await invoices(world)).toHaveLength(1)
    const left = await env.DB.prepare(
      'select count(*) as n from credit_months where tenant_id = ? and invoiced = 0',
    )
      .bind(world.tenant.id)
      .first<number>('n')
    expect(left).toBe(0)
  })

  it('is not made where Stripe makes them', async () => {
    const world = await makeWorld()
    await had(world, '2026-01', [['grant', 10]])
    await sweep(Date.parse('2026-03-01T02:00:00.000Z'), {})
    await sweep(Date.parse('2026-03-01T02:00:00.000Z'))
    expect(await invoices(world)).toEqual([])
  })
})

describe('an invoice of Stripe’s', () => {
  const told = (world: { customer: string }, more: object = {}) => ({
    ...{
      customer: world.customer,
      number: null,
      status: 'draft',
      currency: 'usd',
      amount_due: 4_900,
      amount_paid: 0,
    },
    ...{ created: 1_769_904_000, period_start: 1_769_904_000, period_end: 1_772_323_200, invoice_pdf: null },
    lines: {
      object: 'list',
      data: [
        { description: '1 × Pro', quantity: 1, amount: 4_900, pricing: { unit_amount_decimal: '4900' } },
      ],
    },
    ...more,
  })

  it('is kept as Stripe has it, in whatever order its events come', async () => {
    const { world, session } = await makeSubscriber()
    const { id } = await atStripe<{ id: string }>('invoice', told(session))
    await hear('invoice.created', { id, customer: session.customer })
    const [draft] = await invoices(world)
    expect(draft).toMatchObject({ status: 'draft', number: null, pdf_url: null, issued_at: null })
    const early = await call('GET', `/api/v1/billing/invoices/${draft?.id}/pdf`, {
      token: world.viewer.token,
    })
    expect(early.status).toBe(409)
    const paid = {
      status: 'paid',
      number: 'ABC-0001',
      amount_paid: 4_900,
      status_transitions: { finalized_at: 1_769_904_060 },
    }
    await atStripe('set', { id, ...paid, invoice_pdf: `${env.RECEIVER_URL}/stripe/pdf/${id}` })
    await hear('invoice.paid', { id, customer: session.customer })
    await hear('invoice.finalized', { id, customer: session.customer, status: 'open' })
    await hear('invoice.payment_failed', { id, customer: session.customer, status: 'open' })
    const [invoice, ...others] = await invoices(world)
    expect(others).toEqual([])
    expect(invoice).toMatchObject({
      ...{ status: 'paid', number: 'ABC-0001', amount_due: 4_900, amount_paid: 4_900 },
      lines: [{ description: '1 × Pro', quantity: 1, unit_amount: 4_900, amount: 4_900 }],
      issued_at: '2026-02-01T00:01:00.000Z',
    })
    expect(await announced(world, 'billing.invoice.issued')).toMatchObject([
      { number: 'ABC-0001', status: 'paid' },
    ])
    const pdf = await call('GET', `/api/v1/billing/invoices/${invoice?.id}/pdf`, {
      token: world.viewer.token,
    })
    expect([
      pdf.status,
      pdf.headers.get('Content-Type'),
      new TextDecoder().decode(await pdf.arrayBuffer()),
    ]).toEqual([200, 'application/pdf', `%PDF-1.4 of pdf/${id}`])
    await atStripe('set', { id, invoice_pdf: `${env.RECEIVER_URL}/stripe/v1/nothing` })
    await hear('invoice.updated', { id, customer: session.customer })
    const failed = await callJson('GET', `/api/v1/billing/invoices/${invoice?.id}/pdf`, {
      token: world.viewer.token,
    })
    expect([failed.status, failed.error.code]).toEqual([502, 'provider_failed'])
    // Links of Stripe's end after some months, of which no event tells.
    await atStripe('set', { id, invoice_pdf: `${env.RECEIVER_URL}/stripe/pdf/${id}` })
    const again = await call('GET', `/api/v1/billing/invoices/${invoice?.id}/pdf`, {
      token: world.viewer.token,
    })
    expect([again.status, await again.text()]).toEqual([200, `%PDF-1.4 of pdf/${id}`])
  })

  it('has all its lines, of which an invoice shows the first ten', async () => {
    const { world, session } = await makeSubscriber()
    const line = (i: number) => ({ description: `Line ${i}`, quantity: 1, amount: i })
    const all = Array.from({ length: 12 }, (_, i) => line(i))
    const { id } = await atStripe<{ id: string }>('invoice', {
      ...told(session),
      ...{ all_lines: all, lines: { object: 'list', data: all.slice(0, 10), has_more: true } },
    })
    await hear('invoice.created', { id, customer: session.customer })
    const [invoice] = await invoices(world)
    expect(invoice?.lines.map(({ description, unit_amount }) => [description, unit_amount])).toEqual(
      all.map(({ description, amount }) => [description, amount]),
    )
  })

  it('of another customer is nobody’s, and a draft that was deleted is void', async () => {
    const { world, session } = await makeSubscriber()
    const other = await makeSubscriber()
    const { id } = await atStripe<{ id: string }>('invoice', told(other.session))
    await hear('invoice.paid', { id, customer: session.customer })
    expect(await invoices(world)).toEqual([])
    const mine = await atStripe<{ id: string }>('invoice', told(session))
    await Promise.all(
      [1, 2, 3].map(() => hear('invoice.created', { id: mine.id, customer: session.customer })),
    )
    await atStripe('fail', { path: `invoices/${mine.id}`, status: 404, times: 1 })
    await hear('invoice.deleted', { id: mine.id, customer: session.customer })
    expect(await invoices(world)).toMatchObject([{ status: 'void' }])
  })
})

describe('the PDF', () => {
  it('has what the invoice says, and is one that a strict reader takes', async () => {
    const world = await makeWorld()
    await had(world, '2026-01', [['purchase', 1_000]])
    await invoiceMonth(system(world), '2026-01')
    const [invoice] = await invoices(world)
    expect(invoice?.pdf_url).toMatch(/\/api\/v1\/billing\/invoices\/[\w-]+\/pdf$/)
    const answer = await call('GET', new URL(invoice?.pdf_url ?? '').pathname, { token: world.viewer.token })
    expect(answer.headers.get('Content-Disposition')).toBe(
      `attachment; filename="invoice-${invoice?.number}.pdf"`,
    )
    const bytes = new Uint8Array(await answer.arrayBuffer())
    expect(faultsOf(bytes)).toEqual([])
    const [page = '', ...others] = await pagesOf(bytes)
    expect(others).toEqual([])
    for (const words of [
      'Invoice',
      invoice?.number ?? '',
      '2026-01-01 to 2026-02-01',
      world.tenant.name,
      '1,000 credits',
      '5.00',
      'Amount USD',
    ])
      expect(page).toContain(words)
  })

  it('holds any letters, and as many pages as its lines need', async () => {
    const lines = Array.from({ length: 200 }, (_, i) => ({
      description:
        i === 0 ? `Grüße (100 \\ 50) “q” € ${'long '.repeat(30)}${'x'.repeat(120)} 日本 Čapek` : `Line ${i}`,
      ...{ quantity: 1, unit_amount: 0.5, amount: 1_234_567 },
    }))
    const row = {
      ...{ number: 'A-1', status: 'paid', currency: 'jpy', amount_due: 5, amount_paid: 5, lines },
      ...{ issued_at: '2026-02-01T00:00:00.000Z', period_start: '2026-01-01', period_end: '2026-02-01' },
    } as InvoiceRow
    const bytes = printInvoice(row, { from: 'api.example.com', to: 'Ünïcode GmbH & Co.' })
    expect(faultsOf(bytes)).toEqual([])
    const pages = await pagesOf(bytes)
    expect(pages.length).toBeGreaterThan(3)
    expect(pages[0]).toContain('Grüße (100 \\ 50) “q” €')
    expect(pages[0]).toContain('Ünïcode GmbH & Co.')
    expect(pages.join('\n')).toContain('?? Capek')
    // Yen have no decimals; half of one has.
    expect(pages[0]).toContain('1,234,567')
    expect(pages[0]).toContain('0.5')
    expect(pages.join('\n').match(/Line \d+/g)).toHaveLength(199)
    expect(pages.at(-1)).toContain('Total')
  })
})

describe('what was used this month', () => {
  it('is told by kind, with the requests', async () => {
    const world = await makeBuyer()
    const month = new Date().toISOString().slice(0, 7)
    await had(world, month, [
      ['grant', 100],
      ['spend', -30],
      ['spend', -10],
    ])
    await had(world, '2020-01', [['grant', 1_000]])
    await called(world, [90, 45, null])
    const usage = await read<{ credits: Record<string, object>; requests: number; balance: number }>(
      world,
      'usage',
    )
    expect(usage).toMatchObject({
      period_start: `${month}-01T00:00:00.000Z`,
      calls: { count: 3, minutes: 2.25 },
      balance: 60,
    })
    expect(usage.credits).toEqual({
      ...{ purchase: { transactions: 0, amount: 0 }, refund: { transactions: 0, amount: 0 } },
      ...{ reserve: { transactions: 0, amount: 0 }, release: { transactions: 0, amount: 0 } },
      ...{ grant: { transactions: 1, amount: 100 }, spend: { transactions: 2, amount: -40 } },
    })
    await read(world, 'balance')
    const later = await read<{ requests: number }>(world, 'usage')
    expect(later.requests).toBeGreaterThan(usage.requests)
  })
})
