import * as z from 'zod'
import { Plan } from '../../tenancy/tenants/schema'
import { Checkout, ReturnUrl } from '../checkouts/schema'

export const ChooseSubscription = z
  .strictObject({
    plan: Plan.meta({ description: 'The plan to have; `starter` ends the subscription with what is paid.' }),
    success_url: ReturnUrl.optional().meta({
      description: 'Where the browser goes once it is paid; needed where there is no subscription yet.',
    }),
    cancel_url: ReturnUrl.optional().meta({ description: 'Where it goes if somebody turns back.' }),
  })
  .meta({ example: { plan: 'pro', success_url: 'https://app.example.com/billing?paid=1' } })
export type ChooseSubscription = z.output<typeof ChooseSubscription>

export const Subscription = z
  .object({
    plan: Plan.nullable().meta({ description: 'What it gives; null where it gives nothing (any more).' }),
    status: z.string().meta({
      description:
        'As Stripe has it: `active`, `trialing`, `past_due` (the plan stays while it is tried again), `incomplete`, `unpaid`, `paused`, `canceled`, `incomplete_expired`; `none` without one.',
      example: 'active',
    }),
    period_start: z.string().nullable().meta({ format: 'date-time', example: '2026-01-31T10:00:00.000Z' }),
    period_end: z.string().nullable().meta({ format: 'date-time', example: '2026-02-28T10:00:00.000Z' }),
    cancel_at_period_end: z.boolean(),
    checkout: Checkout.nullable().meta({
      description: 'What is to be paid first, where that was asked for now.',
    }),
  })
  .meta({ id: 'Subscription' })
export type Subscription = z.input<typeof Subscription>

export const OpenPortal = z
  .strictObject({
    return_url: ReturnUrl.meta({ description: 'Where the browser goes from there.' }),
  })
  .meta({ example: { return_url: 'https://app.example.com/billing' } })
export type OpenPortal = z.output<typeof OpenPortal>

export const Portal = z
  .object({ url: z.string().meta({ format: 'uri', description: 'It can be opened for a few minutes.' }) })
  .meta({ id: 'BillingPortal' })
