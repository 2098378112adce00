import * as z from 'zod'
import { AT, ID, kind, OTHER_ID, Time, Uuid } from './kind'

/** The service's types about webhooks themselves. */
export const ABOUT_WEBHOOKS = {
  'endpoint.degraded': kind(
    'Ten attempts in a row failed at an endpoint: its events are held, and one goes out now and then to see whether it answers again. Sent again as a first and a second notice before the endpoint is disabled.',
    z.object({
      endpoint_id: Uuid,
      uid: z.string().nullable(),
      description: z.string(),
      failures: z.int(),
      failing_since: Time,
      notice: z.int().meta({ description: '0 when it becomes degraded, then 1 and 2.' }),
      disabled_at: Time.meta({ description: 'When it is disabled if nothing arrives before.' }),
      response_status: z.int().nullable(),
      error: z.string().nullable(),
    }),
    {
      endpoint_id: ID,
      uid: 'billing',
      description: 'Billing',
      failures: 10,
      failing_since: AT,
      notice: 0,
      disabled_at: '2026-02-05T10:00:00.000Z',
      response_status: 503,
      error: 'status: answered 503',
    },
  ),
  'endpoint.disabled': kind(
    'An endpoint takes no more events: its receiver answered 410, or `webhook-delivery: disable`, or nothing arrived there for five days.',
    z.object({
      endpoint_id: Uuid,
      uid: z.string().nullable(),
      description: z.string(),
      reason: z.enum(['gone', 'asked', 'failing']),
      delivery_id: Uuid,
      disabled_at: Time,
    }),
    {
      endpoint_id: ID,
      uid: 'billing',
      description: 'Billing',
      reason: 'gone',
      delivery_id: OTHER_ID,
      disabled_at: AT,
    },
  ),
  'delivery.exhausted': kind(
    'Every attempt of a delivery failed; it is a dead letter now.',
    z.object({
      delivery_id: Uuid,
      event_id: z.string(),
      event_type: z.string(),
      endpoint_id: Uuid,
      attempt_count: z.int(),
      response_status: z.int().nullable(),
      error: z.string().nullable(),
      count: z
        .int()
        .meta({ description: 'How many ended so with it; above 1 where they had been held too long.' }),
    }),
    {
      delivery_id: ID,
      event_id: `msg_${OTHER_ID}`,
      event_type: 'interaction.created',
      endpoint_id: OTHER_ID,
      attempt_count: 10,
      response_status: 503,
      error: 'status: answered 503',
      count: 1,
    },
  ),
} as const
