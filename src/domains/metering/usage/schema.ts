import * as z from 'zod'
import { Id, Time } from '../../../lib/wire'
import { LATENCY_ERROR } from './latency'

export const GROUPS = ['minute', 'hour', 'day', 'endpoint', 'status', 'api_key'] as const

const percentile = z
  .number()
  .nullable()
  .meta({
    description: `Whole milliseconds, at most ${LATENCY_ERROR * 100} % and half a millisecond away from the true one.`,
    example: 12,
  })

const percentiles = z.object({ p50: percentile, p95: percentile, p99: percentile })

const time = (what: string) =>
  z.iso
    .datetime()
    .optional()
    .meta({ description: `When the ${what} began.`, example: '2026-01-31T10:00:00.000Z' })

/** One group of requests: the fields that name it, and what they came to. */
export const UsageRow = z
  .object({
    minute: time('minute'),
    hour: time('hour'),
    day: time('day'),
    endpoint: z.string().optional().meta({ description: 'The route.', example: '/api/v1/chats/:id' }),
    method: z.string().optional().meta({ example: 'GET' }),
    status: z.int().optional().meta({ example: 200 }),
    api_key_id: z.string().nullable().optional().meta({
      description: 'Null for requests by users, and where there were too many keys to tell them apart.',
    }),
    principal: z.enum(['user', 'api_key', 'public', 'others']).optional().meta({
      description:
        'public: by signed URLs and public links, of webhook sources, and of agents that answer by callback.',
    }),
    requests: z.int(),
    errors: z.int().meta({ description: 'Answered with 400 or more.' }),
    latency_ms: percentiles,
    request_size_bytes: z.int(),
    response_size_bytes: z.int(),
    answers: z
      .object({
        runs: z.int().meta({ description: 'Answers of agents that ended, stopped and failed ones too.' }),
        prompt_tokens: z.int().meta({ description: 'Where the agent told them.' }),
        completion_tokens: z.int(),
        time_to_first_token_ms: percentiles,
        duration_ms: percentiles,
      })
      .optional()
      .meta({ description: 'Where agents answered.' }),
  })
  .meta({ id: 'UsageRow' })

export type UsageRow = z.input<typeof UsageRow>

export const usageQuery = {
  from: Time.optional().meta({ description: 'The first moment; 24 hours ago where it is left out.' }),
  to: Time.optional().meta({ description: 'The moment after the last; now where it is left out.' }),
  group_by: z.enum(GROUPS).default('hour'),
}

export type UsageQuery = z.output<z.ZodObject<typeof usageQuery>>

/** What a tenant used, as its partner sees it. */
export const TenantUsage = z
  .object({
    tenant_id: Id,
    name: z.string(),
    requests: z.int(),
    errors: z.int().meta({ description: 'Answered with 400 or more.' }),
    request_size_bytes: z.int(),
    response_size_bytes: z.int(),
  })
  .meta({ id: 'TenantUsage' })

/** A request that failed or was slow. */
export const NotedRequest = z
  .object({
    ts: z.iso.datetime().meta({ description: 'When it was answered.' }),
    request_id: z.string(),
    method: z.string(),
    endpoint: z.string().meta({ example: '/api/v1/chats/:id' }),
    status: z.int(),
    latency_ms: z.int(),
    request_size_bytes: z.int(),
    response_size_bytes: z.int(),
    api_key_id: z.string().nullable(),
  })
  .meta({ id: 'NotedRequest' })

export type NotedRequest = z.input<typeof NotedRequest>
