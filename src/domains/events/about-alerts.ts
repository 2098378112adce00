import * as z from 'zod'
import { AT, ID, kind, OTHER_ID, Time, Uuid } from './kind'

const ALERT = z.object({
  alert_id: Uuid,
  rule_id: Uuid,
  name: z.string(),
  metric: z.string(),
  comparison: z.enum(['gt', 'gte', 'lt', 'lte']),
  threshold: z.number(),
  window_minutes: z.int(),
  value: z.number().meta({ description: 'What the metric was when the alert was raised.' }),
  raised_at: Time,
})
const ALERT_EXAMPLE = {
  ...{ alert_id: ID, rule_id: OTHER_ID, name: 'Too many errors', metric: 'error_rate' },
  ...{ comparison: 'gt' as const, threshold: 0.05, window_minutes: 5, value: 0.12, raised_at: AT },
}

/** The types about alerts. */
export const ABOUT_ALERTS = {
  'alert.raised': kind('A rule of the tenant came true.', ALERT, ALERT_EXAMPLE),
  'alert.resolved': kind(
    'What an alert was raised for is over; `resolution` says how.',
    ALERT.extend({
      resolved_at: Time,
      resolved_value: z
        .number()
        .nullable()
        .meta({ description: 'What the metric was then; null where it was not looked at.' }),
      resolution: z.enum(['recovered', 'no_data', 'rule_changed', 'rule_paused', 'rule_deleted']),
    }),
    { ...ALERT_EXAMPLE, resolved_at: AT, resolved_value: 0.01, resolution: 'recovered' },
  ),
} as const
