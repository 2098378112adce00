import * as z from 'zod'
import { AT, ID, kind, OTHER_ID, Time, Uuid } from './kind'

const CALL = z.object({
  call_id: Uuid,
  agent_id: Uuid,
  campaign_id: Uuid.nullable(),
  contact_id: Uuid.nullable(),
  to: z.string(),
  from: z.string(),
  metadata: z.record(z.string(), z.json()),
})
const CALL_EXAMPLE = {
  ...{ call_id: ID, agent_id: OTHER_ID, campaign_id: null, contact_id: null },
  ...{ to: '+14155550123', from: '+14155550100', metadata: { order: 'A-1007' } },
}

/** The types about calls. */
export const ABOUT_CALLS = {
  'call.started': kind('Somebody answered a call.', CALL.extend({ started_at: Time }), {
    ...CALL_EXAMPLE,
    started_at: AT,
  }),
  'call.ended': kind(
    'A call ended: it was `completed`, or `failed`, or there was `no_answer`; its recording may come later.',
    CALL.extend({
      status: z.enum(['completed', 'failed', 'no_answer']),
      started_at: Time.nullable(),
      ended_at: Time,
      duration_seconds: z.int(),
      cost: z.int().meta({ description: 'Credits.' }),
      ended_reason: z.string(),
    }),
    {
      ...{ ...CALL_EXAMPLE, status: 'completed', started_at: AT, ended_at: '2026-01-31T10:01:12.000Z' },
      ...{ duration_seconds: 72, cost: 12, ended_reason: 'hangup' },
    },
  ),
} as const
