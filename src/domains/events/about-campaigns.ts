import * as z from 'zod'
import { AT, ID, kind, OTHER_ID, Time, Uuid } from './kind'

const CAMPAIGN = z.object({
  campaign_id: Uuid,
  name: z.string(),
  agent_id: Uuid,
  contacts: z
    .object({
      ...{ total: z.int(), pending: z.int(), calling: z.int() },
      ...{ completed: z.int(), no_answer: z.int(), failed: z.int() },
    })
    .meta({ description: 'How many there are, and of each status.' }),
  started_at: Time.nullable(),
})
const EXAMPLE = {
  ...{ campaign_id: ID, name: 'Renewals in May', agent_id: OTHER_ID, started_at: AT },
  contacts: { total: 20, pending: 0, calling: 0, completed: 16, no_answer: 3, failed: 1 },
}

/** The types about campaigns. */
export const ABOUT_CAMPAIGNS = {
  'campaign.started': kind('A campaign places its first calls.', CAMPAIGN, {
    ...EXAMPLE,
    contacts: { total: 20, pending: 20, calling: 0, completed: 0, no_answer: 0, failed: 0 },
  }),
  'campaign.paused': kind(
    'A campaign places no calls until it is resumed: somebody asked for it, or `reason` says what it lacks.',
    CAMPAIGN.extend({
      reason: z.enum([
        'requested',
        'insufficient_credit',
        'agent_unavailable',
        'provider_unavailable',
        'internal_error',
      ]),
      message: z.string().nullable().meta({ description: 'What is to be done about it.' }),
    }),
    {
      ...EXAMPLE,
      contacts: { total: 20, pending: 8, calling: 0, completed: 10, no_answer: 2, failed: 0 },
      reason: 'insufficient_credit',
      message: 'There is too little credit for another call; buy some, and resume the campaign',
    },
  ),
  'campaign.completed': kind(
    'A campaign has called everybody, or its end_at has come; no call of it is under way.',
    CAMPAIGN.extend({ completed_at: Time }),
    { ...EXAMPLE, completed_at: AT },
  ),
  'campaign.cancelled': kind(
    'A campaign was cancelled; calls that were under way go on to their end.',
    CAMPAIGN,
    { ...EXAMPLE, contacts: { total: 20, pending: 12, calling: 2, completed: 6, no_answer: 0, failed: 0 } },
  ),
} as const
