import * as z from 'zod'
import { Id } from '../../../lib/wire'
import { LATENCY_ERROR } from '../../metering/usage/latency'
import { NotedRequest } from '../../metering/usage/schema'

const MINUTES = 'must be a whole number of minutes from 1 to 10080'

export const windowQuery = {
  minutes: z.coerce
    .number(MINUTES)
    .int(MINUTES)
    .min(1, MINUTES)
    .max(10_080, MINUTES)
    .default(60)
    .meta({ description: 'How far back: whole minutes, the one that runs included; a week at most.' }),
}
export type WindowQuery = z.output<z.ZodObject<typeof windowQuery>>

const count = z.int().meta({ example: 0 })
const upToHundred = count.meta({ description: 'Counted up to a hundred.' })
const rate = z.number().nullable().meta({ description: 'Of requests; null without any.', example: 0.01 })
const time = z.iso.datetime()
const seconds = z.number().nullable().meta({ description: 'Null where nothing waits.', example: null })
const percentile = z
  .number()
  .nullable()
  .meta({
    description: `Whole milliseconds, at most ${LATENCY_ERROR * 100} % and half a millisecond away from the true one.`,
    example: 12,
  })
const latency = z.object({ p50: percentile, p95: percentile, p99: percentile })
const window = {
  from: time,
  to: time,
  requests: count,
}
const endpoint = {
  method: z.string().nullable().meta({ description: 'Null for what there were too many of to tell apart.' }),
  endpoint: z.string().meta({ example: '/api/v1/chats/:id' }),
  requests: count,
}

export const Health = z.enum(['healthy', 'degraded', 'failing'])
export type Health = z.output<typeof Health>

export const TenantStatus = z
  .object({
    status: Health.meta({ description: 'The worst of its parts.' }),
    as_of: time,
    requests: z
      .object({
        status: Health,
        window_minutes: count,
        requests: count,
        errors: count.meta({ description: 'Answered with 400 or more.' }),
        server_errors: count.meta({ description: 'Answered with 500 or more.' }),
        refused: count.meta({ description: 'Over a limit: 429.' }),
        error_rate: rate,
        latency_ms: latency,
      })
      .meta({ description: 'Degraded with 1 % of server errors among twenty or more, failing with 10 %.' }),
    deliveries: z
      .object({
        status: Health,
        pending: upToHundred,
        held: upToHundred,
        overdue_seconds: z.number(),
        endpoints: z.object({ active: count, degraded: count, paused: count, disabled: count }),
      })
      .meta({
        description:
          'Degraded where an endpoint is degraded or disabled, or a delivery is overdue by a minute; failing by ten minutes.',
      }),
    jobs: z
      .object({ status: Health, queued: upToHundred, running: upToHundred, failed_last_day: upToHundred })
      .meta({ description: 'Degraded where one failed of those that were started within a day.' }),
    interactions: z.object({
      service_enabled: z.boolean().meta({ description: 'While false, registering one is 409.' }),
    }),
  })
  .meta({ id: 'TenantStatus' })

export const ErrorReport = z
  .object({
    ...window,
    errors: count,
    server_errors: count,
    error_rate: rate,
    by_category: z.record(z.string(), z.int()).meta({ example: { not_found: 2 } }),
    by_status: z.array(z.object({ status: count.meta({ example: 404 }), requests: count })),
    by_endpoint: z
      .array(z.object({ ...endpoint, errors: count, error_rate: rate }))
      .meta({ description: 'The fifty with most errors.' }),
    recent: z
      .array(NotedRequest)
      .meta({ description: 'A sample of the last ones, newest first (GET /usage/requests has more).' }),
  })
  .meta({ id: 'ErrorReport' })

export const LatencyReport = z
  .object({
    ...window,
    latency_ms: latency,
    steps: z.array(z.object({ at: time, requests: count, latency_ms: latency })).meta({
      description: 'By the minute, beyond three hours by the hour; those without a request have none.',
    }),
    by_endpoint: z
      .array(z.object({ ...endpoint, latency_ms: latency }))
      .meta({ description: 'The fifty whose p95 is longest.' }),
    recent: z.array(NotedRequest).meta({ description: 'A sample of the last that took a second or longer.' }),
  })
  .meta({ id: 'LatencyReport' })

export const QueueReport = z
  .object({
    as_of: time,
    events: z
      .object({
        waiting: count.nullable().meta({
          description: 'Null where a hundred of others wait first: then nobody looks further.',
        }),
        oldest_seconds: seconds,
      })
      .meta({
        description:
          'Events whose deliveries are not made yet, of the first hundred that wait in the service: mostly none.',
      }),
    deliveries: z.object({
      pending: upToHundred,
      held: upToHundred,
      overdue_seconds: z.number(),
      endpoints: z
        .array(
          z.object({
            endpoint_id: Id,
            status: z.enum(['active', 'degraded', 'paused', 'disabled']),
            pending: upToHundred,
            held: upToHundred,
            next_attempt_at: time.nullable(),
            not_before: time.nullable().meta({ description: 'No attempt is made before.' }),
          }),
        )
        .meta({ description: 'The twenty whose deliveries are due first.' }),
    }),
    jobs: z.object({ queued: upToHundred, running: upToHundred, oldest_queued_seconds: seconds }),
    incoming: z
      .object({ received_last_hour: upToHundred, refused_last_hour: upToHundred })
      .meta({ description: 'Webhooks of others.' }),
    others: z
      .array(
        z.object({
          name: z.string().meta({ example: 'data_pipeline' }),
          waiting: count,
          oldest_seconds: seconds,
          stuck: count.meta({ description: 'Of those, what was refused and is tried again later.' }),
        }),
      )
      .meta({ description: 'Where this service has them.' }),
  })
  .meta({ id: 'QueueReport' })
