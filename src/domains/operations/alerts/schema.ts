import * as z from 'zod'
import { createdBetween, Id, paging } from '../../../lib/wire'
import { COMPARISONS, METRICS, RESOLUTIONS } from './table'

const Metric = z.enum(METRICS, `must be one of ${METRICS.join(', ')}`).meta({
  description:
    'Of the window: `requests`, how many there were; `error_rate`, which part of them was answered with 400 or more, 0 to 1; `latency_p95`, the milliseconds that 95 % of them did not exceed; `deliveries_failed`, how many attempts of deliveries failed. `credit`: what is left of it.',
})
const Comparison = z
  .enum(COMPARISONS, 'must be gt, gte, lt or lte')
  .meta({ description: 'Above (`gt`), at or above, below (`lt`), at or below the threshold.' })

const NUMBER = 'must be a number from 0 on'
const Threshold = z.number(NUMBER).min(0, NUMBER).max(1e15, 'must be at most 1e15')

const MINUTES = 'must be a whole number from 1 to 1440'
const Window = z
  .number(MINUTES)
  .int(MINUTES)
  .min(1, MINUTES)
  .max(1440, MINUTES)
  .meta({ description: 'The last so many whole minutes; 5 unless said otherwise. 1 for `credit`.' })

const RuleName = z
  .string('must be a text')
  .trim()
  .min(1, 'must not be empty')
  .max(100, 'must have at most 100 characters')

const RuleStatus = z.enum(['active', 'paused'], 'must be active or paused')
const NoData = z.enum(['keep', 'resolve'], 'must be keep or resolve').meta({
  description: 'What an alert does in a window without requests, which has no error rate and no latency.',
})
const ResolveThreshold = Threshold.nullable().meta({
  description: 'An alert lasts until the metric is back beyond this; null for the threshold itself.',
})

export const AlertRule = z
  .object({
    id: Id,
    name: z.string(),
    metric: Metric,
    comparison: Comparison,
    threshold: z.number(),
    resolve_threshold: ResolveThreshold,
    window_minutes: z.int(),
    no_data: NoData,
    status: RuleStatus,
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'AlertRule' })

export const CreateRule = z.strictObject({
  name: RuleName.meta({ example: 'Too many errors' }),
  metric: Metric,
  comparison: Comparison,
  threshold: Threshold,
  resolve_threshold: ResolveThreshold.default(null),
  window_minutes: Window.optional(),
  no_data: NoData.default('keep'),
  status: RuleStatus.default('active'),
})
export type CreateRule = z.output<typeof CreateRule>

export const UpdateRule = z.strictObject({
  name: RuleName.optional(),
  metric: Metric.optional(),
  comparison: Comparison.optional(),
  threshold: Threshold.optional(),
  resolve_threshold: ResolveThreshold.optional(),
  window_minutes: Window.optional(),
  no_data: NoData.optional(),
  status: RuleStatus.optional(),
})
export type UpdateRule = z.output<typeof UpdateRule>

const AlertStatus = z.enum(['open', 'acknowledged', 'resolved'], 'must be open, acknowledged or resolved')

export const Alert = z
  .object({
    id: Id,
    rule_id: Id,
    name: z.string().meta({ description: 'The rule’s, as it was; so are its terms.' }),
    metric: Metric,
    comparison: Comparison,
    threshold: z.number(),
    window_minutes: z.int(),
    value: z.number().meta({ description: 'What the metric was when the alert was raised.' }),
    status: AlertStatus,
    acknowledged_at: z.string().nullable().meta({ format: 'date-time' }),
    acknowledged_by: z.string().nullable().meta({ description: 'The user or API key.' }),
    resolved_at: z.string().nullable().meta({ format: 'date-time' }),
    resolved_value: z.number().nullable().meta({ description: 'What the metric was then.' }),
    resolution: z.enum(RESOLUTIONS).nullable(),
    created_at: z.string().meta({ format: 'date-time', description: 'When it was raised.' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Alert' })

export const ruleFilters = { ...paging, status: RuleStatus.optional(), metric: Metric.optional() }
export type RuleFilters = z.output<z.ZodObject<typeof ruleFilters>>

export const alertFilters = {
  ...paging,
  status: AlertStatus.optional(),
  rule_id: Id.optional(),
  ...createdBetween,
}
export type AlertFilters = z.output<z.ZodObject<typeof alertFilters>>
