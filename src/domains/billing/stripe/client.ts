import * as z from 'zod'
import type { Context } from '../../../data/context'
import { Problem, problem } from '../../../lib/problem'
import { askProvider } from '../../../lib/provider-fetch'
import { neededProvider } from '../../providers/choose'

// Stripe's API (docs.stripe.com/api), as far as credit and plans need it: form-encoded requests, JSON answers of the version
// that is named here, whatever the account's own is.

const VERSION = '2026-10-28.endive'

type Params = { [name: string]: Param }
type Param = string | number | boolean | null | undefined | Params | readonly Param[]

/** `{line_items: [{price: 'p'}]}` as `line_items[0][price]=p`; what is null or undefined is left out. */
export function formOf(params: Params): URLSearchParams {
  const form = new URLSearchParams()
  const add = (name: string, value: Param): void => {
    if (value === null || value === undefined) return
    if (typeof value !== 'object') form.append(name, String(value))
    else for (const [key, inner] of Object.entries(value)) add(`${name}[${key}]`, inner as Param)
  }
  for (const [name, value] of Object.entries(params)) add(name, value)
  return form
}

type Ask<S> = {
  method?: 'GET' | 'POST' | 'DELETE'
  path: string
  params?: Params
  /** Under one key Stripe does a thing once, within a day. */
  key?: string
  answer: S
  meant?: readonly number[]
}

/** Asks Stripe through the operator's account; null where it answers a status that is `meant`. */
export async function askStripe<S extends z.ZodType>(
  ctx: Context,
  { method = 'GET', path, params = {}, key, answer, meant = [] }: Ask<S>,
): Promise<z.output<S> | null> {
  const provider = await neededProvider(ctx, 'stripe')
  const form = formOf(params)
  const query = method === 'POST' || form.size === 0 ? '' : `?${form}`
  const { status, body } = await askProvider(ctx, provider, {
    // 409: another request under the same key, or about the same thing, is not done yet.
    ...{ method, path: `/v1/${path}${query}`, meant, passing: [409] },
    headers: {
      Authorization: `Bearer ${provider.api_key}`,
      'Stripe-Version': VERSION,
      ...(key === undefined ? {} : { 'Idempotency-Key': key }),
    },
    ...(method === 'POST' ? { body: form } : {}),
  })
  if (status >= 300) return null
  const read = answer.safeParse(body)
  if (read.success) return read.data
  throw problem('provider_failed', 'The provider stripe answered with what it does not document', {
    details: { provider: 'stripe', status, said: null },
    cause: z.prettifyError(read.error),
  })
}

/** The same where there is an answer or a problem. */
export async function needStripe<S extends z.ZodType>(ctx: Context, ask: Ask<S>): Promise<z.output<S>> {
  const answer = await askStripe(ctx, ask)
  if (answer !== null) return answer
  throw problem('provider_failed', 'The provider stripe has not what was asked for', {
    details: { provider: 'stripe', status: null, said: null },
  })
}

/** Whether Stripe would say the same for ever. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof Problem && error.code === 'provider_refused'

/** An id, which Stripe may answer expanded. */
const Ref = z.union([z.string(), z.object({ id: z.string() }).transform(({ id }) => id)])
const seconds = z.int().transform((at) => new Date(at * 1000).toISOString())

export const StripeCustomer = z.object({ id: z.string(), deleted: z.boolean().default(false) })

export const StripeSession = z.object({
  id: z.string(),
  url: z.string().nullish(),
  status: z.string().nullish(),
  payment_status: z.string(),
  expires_at: seconds,
  customer: Ref.nullish(),
  payment_intent: Ref.nullish(),
  subscription: Ref.nullish(),
})
export type StripeSession = z.output<typeof StripeSession>

export const StripeSessions = z.object({ data: z.array(StripeSession) })

export const StripeSubscription = z
  .object({
    id: z.string(),
    customer: Ref,
    status: z.string(),
    cancel_at_period_end: z.boolean(),
    items: z.object({
      data: z
        .array(
          z.object({
            id: z.string(),
            price: z.object({ id: z.string() }),
            current_period_start: seconds,
            current_period_end: seconds,
          }),
        )
        .min(1),
    }),
  })
  .transform(({ items, ...rest }) => ({ ...rest, item: items.data[0] as (typeof items.data)[number] }))
export type StripeSubscription = z.output<typeof StripeSubscription>

const StripeLine = z.object({
  description: z.string().nullish(),
  quantity: z.number().nullish(),
  amount: z.int(),
  pricing: z.object({ unit_amount_decimal: z.coerce.number().nullish() }).nullish(),
})

export const StripeLines = z.object({ data: z.array(StripeLine) })

export const StripeInvoice = z.object({
  id: z.string(),
  customer: Ref.nullish(),
  number: z.string().nullish(),
  status: z.string().nullish(),
  currency: z.string(),
  amount_due: z.int(),
  amount_paid: z.int(),
  created: seconds,
  period_start: seconds,
  period_end: seconds,
  status_transitions: z.object({ finalized_at: seconds.nullish() }).nullish(),
  invoice_pdf: z.string().nullish(),
  lines: StripeLines.extend({ has_more: z.boolean().default(false) }),
})
export type StripeInvoice = z.output<typeof StripeInvoice>

/** What of an event about a payment is believed: which one it is. */
export const StripePayment = z.object({ payment_intent: Ref.nullish() })
export const StripeDispute = StripePayment.extend({ amount: z.int(), status: z.string() })

export const StripeRefunds = z.object({
  data: z.array(z.object({ amount: z.int(), status: z.string().nullish() })),
})
