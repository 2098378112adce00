import * as z from 'zod'

export const StatsOf = {
  period: z
    .enum(['day', 'week', 'month'], 'must be day, week or month')
    .default('day')
    .meta({ description: 'The last 24 hours, 168 hours, or 30 days (of UTC), the one that runs included.' }),
}

const count = z.int().meta({ example: 0 })
const latency = z.int().nullable().meta({ example: null })

const counted = {
  since: z.string().meta({ format: 'date-time' }),
  attempts: count,
  succeeded: count,
  success_rate: z.number().nullable().meta({
    description: 'Of attempts; null where there were none.',
    example: null,
  }),
  deliveries: z
    .object({ delivered: count, failed: count, exhausted: count })
    .meta({ description: 'How many ended, and how.' }),
  latency_ms: z
    .object({ p50: latency, p95: latency, p99: latency })
    .meta({ description: 'How long answers took, within 5 %; null where there were none.' }),
}

export const EndpointStats = z
  .object({
    period: StatsOf.period,
    ...counted,
    waiting: z
      .object({ pending: count, held: count })
      .meta({ description: 'Deliveries on their way at this moment; counted up to a hundred each.' }),
    outcomes: z.record(z.string(), z.int()).meta({
      description: 'Attempts by the status that was answered, or by why there was none.',
      example: { '200': 41, timeout: 1 },
    }),
    steps: z.array(z.object(counted)).meta({ description: 'The same, hour by hour, or day by day.' }),
  })
  .meta({ id: 'EndpointStats' })

export type StatsOf = z.output<z.ZodObject<typeof StatsOf>>
export type EndpointStats = z.input<typeof EndpointStats>
