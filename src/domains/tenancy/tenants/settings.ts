import * as z from 'zod'
import { termsOf } from '../plans'

/** A tenant's settings; what a tenant never set has the default given here. */
export const TenantSettings = z.strictObject({
  open_registration: z
    .boolean()
    .meta({ description: 'Whether anyone may join by naming this tenant at registration.' }),
  require_verified_email: z
    .boolean()
    .meta({ description: 'Whether a user must verify the email before logging in.' }),
  max_users: z
    .int()
    .min(1)
    .max(1_000_000)
    .meta({ description: 'The most users the tenant may have; at most the plan’s.' }),
  conversation_window_minutes: z.int().min(1).max(1440),
  payload_retention_days: z.int().min(1).max(30).meta({ description: 'How long events keep their data.' }),
  metadata_retention_days: z.int().min(1).max(90).meta({
    description:
      'How long events, deliveries and what attempts were answered are kept; with them goes the data.',
  }),
  unknown_event_types: z.enum(['accept', 'refuse']).meta({
    description: 'Whether the tenant’s events may be of a type that was not made first.',
  }),
  service_enabled: z.boolean().meta({ description: 'Whether interactions are taken.' }),
})

export type TenantSettings = z.infer<typeof TenantSettings>

/** The settings as they hold for a tenant of `plan`, whose number of users a setting may lower and never raise. */
export function effectiveSettings(plan: string, set: Partial<TenantSettings>): TenantSettings {
  const most = termsOf(plan).users
  return {
    open_registration: false,
    require_verified_email: false,
    conversation_window_minutes: 30,
    payload_retention_days: 30,
    metadata_retention_days: 90,
    unknown_event_types: 'accept',
    service_enabled: true,
    ...set,
    max_users: Math.min(set.max_users ?? most, most),
  }
}
