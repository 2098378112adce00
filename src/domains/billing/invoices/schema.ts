import * as z from 'zod'
import { createdBetween, Id, paging } from '../../../lib/wire'

const Status = z.enum(['draft', 'open', 'paid', 'void'], 'must be draft, open, paid or void')

export const ListInvoices = { ...paging, ...createdBetween, status: Status.optional() }
export type ListInvoices = z.output<z.ZodObject<typeof ListInvoices>>

const SMALLEST = 'In the currency’s smallest unit.'
const money = (example: number) => z.int().meta({ description: SMALLEST, example })

export const Invoice = z
  .object({
    id: Id,
    number: z.string().nullable().meta({
      description: 'Null while it is a draft.',
      example: '3E4F5A6B7C8D-0001',
    }),
    status: Status,
    currency: z.string().meta({ example: 'usd' }),
    amount_due: money(4_900),
    amount_paid: money(4_900),
    period_start: z.string().meta({ format: 'date-time' }),
    period_end: z.string().meta({ format: 'date-time' }),
    lines: z.array(
      z.object({
        description: z.string().meta({ example: 'Plan pro, a month' }),
        quantity: z.number().meta({ example: 1 }),
        unit_amount: z.number().meta({ description: `${SMALLEST} It may have decimals.`, example: 4_900 }),
        amount: money(4_900),
      }),
    ),
    pdf_url: z.string().nullable().meta({
      description: 'Needs a credential, as every route; null while it is a draft.',
      example: '/api/v1/billing/invoices/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d/pdf',
    }),
    issued_at: z.string().nullable().meta({ format: 'date-time', description: 'Null while it is a draft.' }),
  })
  .meta({ id: 'Invoice' })
export type Invoice = z.input<typeof Invoice>
