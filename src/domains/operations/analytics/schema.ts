import * as z from 'zod'
import { Id, Time } from '../../../lib/wire'

const DAY = 'must be a day like 2026-01-31'

/** A day in UTC; of a time, the day that it lies in. */
const Day = z
  .union([z.iso.date(DAY), Time], DAY)
  .transform((value) => value.slice(0, 10))
  .refine((day) => day >= '1970-01-01', 'must be 1970-01-01 or later')
  .meta({ format: 'date', example: '2026-01-31' })

export const daysQuery = {
  from: Day.optional().meta({ description: 'The first day (UTC); thirty days in all where it is left out.' }),
  to: Day.optional().meta({ description: 'The last day, itself included; today where it is left out.' }),
}
export type DaysQuery = z.output<z.ZodObject<typeof daysQuery>>

const byQuery = <const T extends readonly [string, ...string[]]>(groups: T) => ({
  ...daysQuery,
  group_by: z
    .enum(groups, `must be ${groups.join(' or ')}`)
    .optional()
    .meta({ description: 'Adds `groups`: the hundred that had most within those days.' }),
})

const date = z.string().meta({ format: 'date', example: '2026-01-31' })
const count = z.int().meta({ example: 0 })

/** What an analysis counts, by field. */
export const OVERVIEW = [
  ...(['requests', 'errors', 'events', 'interactions', 'users_created', 'chats', 'messages'] as const),
  ...(['runs_completed', 'runs_failed', 'deliveries_delivered', 'deliveries_exhausted'] as const),
  ...(['jobs_completed', 'jobs_failed', 'tickets_created', 'alerts_raised'] as const),
] as const
export const CHATS = [
  ...(['chats', 'messages', 'runs_completed', 'runs_failed'] as const),
  ...(['prompt_tokens', 'completion_tokens'] as const),
] as const
export const WEBHOOKS = [
  ...(['events', 'attempts', 'delivered', 'failed', 'exhausted', 'cancelled'] as const),
] as const
export const INTERACTIONS = ['interactions', 'said', 'done'] as const

type Counts<K extends string> = Record<K, typeof count>

const countsOf = <K extends string>(names: readonly K[]) =>
  Object.fromEntries(names.map((name) => [name, count])) as Counts<K>

/** What was counted, in all, day by day, and in as many days before. */
function analysis<K extends string>(names: readonly K[]) {
  const counts = z.object(countsOf(names))
  return z.object({
    from: date,
    to: date,
    as_of: z.iso.datetime().meta({ description: 'Whatever was committed until then is counted.' }),
    totals: counts,
    previous: z
      .object({ from: date, to: date, totals: counts })
      .meta({ description: 'As many days before, to compare with.' }),
    days: z.array(counts.extend({ day: date })).meta({ description: 'Every day, those without any too.' }),
  })
}

export const Overview = analysis(OVERVIEW).meta({ id: 'AnalyticsOverview' })

const OfAgent = z.object({
  agent_id: Id,
  ...countsOf(['chats', 'runs_completed', 'runs_failed'] as const),
})

export const ChatAnalytics = analysis(CHATS)
  .extend({ groups: z.array(OfAgent).optional() })
  .meta({ id: 'AnalyticsOfChats' })

const OfEndpoint = z.object({
  endpoint_id: Id,
  ...countsOf(['attempts', 'delivered', 'failed', 'exhausted', 'cancelled'] as const),
})
const OfEventType = z.object({ event_type: z.string().meta({ example: 'order.shipped' }), events: count })

export const WebhookAnalytics = analysis(WEBHOOKS)
  .extend({ groups: z.array(z.union([OfEndpoint, OfEventType])).optional() })
  .meta({ id: 'AnalyticsOfWebhooks' })

const OfType = z.object({ type: z.string().meta({ example: 'purchase' }), interactions: count })

export const InteractionAnalytics = analysis(INTERACTIONS)
  .extend({ groups: z.array(OfType).optional() })
  .meta({ id: 'AnalyticsOfInteractions' })

/** The columns of groups, by what they are grouped by. */
export const GROUP_COLUMNS = {
  agent: Object.keys(OfAgent.shape),
  endpoint: Object.keys(OfEndpoint.shape),
  event_type: Object.keys(OfEventType.shape),
  type: Object.keys(OfType.shape),
}

export const chatsQuery = byQuery(['agent'])
export const webhooksQuery = byQuery(['endpoint', 'event_type'])
export const interactionsQuery = byQuery(['type'])

export type By<Q extends z.ZodRawShape> = z.output<z.ZodObject<Q>>
