import * as z from 'zod'
import { ABOUT_ALERTS } from './about-alerts'
import { ABOUT_BILLING } from './about-billing'
import { ABOUT_CALLS } from './about-calls'
import { ABOUT_CAMPAIGNS } from './about-campaigns'
import { ABOUT_ITEMS } from './about-items'
import { ABOUT_TICKETS } from './about-tickets'
import { ABOUT_WEBHOOKS } from './about-webhooks'
import { AT, ID, kind, OTHER_ID, Time, Uuid } from './kind'

// Every event type that Causeway itself sends: what it says, the shape of its data, and an example of it.

const TEAM = z.object({ team_id: Uuid, name: z.string(), description: z.string().nullable() })
const TEAM_EXAMPLE = { team_id: ID, name: 'Support', description: null }
const MEMBER = z.object({ team_id: Uuid, user_id: Uuid })

const JOB = z.object({
  job_id: Uuid,
  kind: z.string(),
  result: z.record(z.string(), z.unknown()).nullable(),
  created_at: Time,
  finished_at: Time,
})
const JOB_EXAMPLE = {
  ...{ job_id: ID, kind: 'webhooks.recover', created_at: AT, finished_at: AT },
  result: { counted: { failed: 2, exhausted: 40, held: 0, missing: 0, expired: 0 }, resent: 42 },
}

export const CATALOGUE = {
  'interaction.created': kind(
    'An interaction was registered: something said, or something done.',
    z.object({
      interaction_id: Uuid,
      network_id: Uuid.meta({ description: 'The tenant, under its older name.' }),
      tenant_id: Uuid,
      type: z.string(),
      text: z.string().nullable(),
      timestamp: Time,
      speaker_id: z.string().nullable(),
      conversation_id: z.string().nullable(),
      user_id: z.string().nullable(),
      item_id: z.string().nullable(),
      value: z.number().nullable(),
      audio_url: z.string().nullable(),
      metadata: z.record(z.string(), z.json()).nullable(),
    }),
    {
      interaction_id: ID,
      network_id: OTHER_ID,
      tenant_id: OTHER_ID,
      type: 'speech',
      text: 'Hello there',
      timestamp: AT,
      speaker_id: 'speaker-1',
      conversation_id: 'conversation-1',
      user_id: null,
      item_id: null,
      value: null,
      audio_url: null,
      metadata: null,
    },
  ),
  'chat.created': kind(
    'A chat was opened.',
    z.object({
      chat_id: Uuid,
      agent_id: Uuid,
      user_id: Uuid.nullable(),
      title: z.string().nullable(),
      created_at: Time,
    }),
    { chat_id: ID, agent_id: OTHER_ID, user_id: OTHER_ID, title: null, created_at: AT },
  ),
  'chat.message.created': kind(
    'A message was posted to a chat, or the answer of an agent is complete.',
    z.object({
      chat_id: Uuid,
      message_id: Uuid,
      run_id: Uuid.nullable(),
      user_id: Uuid.nullable(),
      role: z.enum(['user', 'assistant']),
      content: z.string(),
      timestamp: Time,
    }),
    {
      chat_id: ID,
      message_id: OTHER_ID,
      run_id: OTHER_ID,
      user_id: OTHER_ID,
      role: 'user',
      content: 'Where is my order?',
      timestamp: AT,
    },
  ),
  'chat.message.rated': kind(
    'Somebody said what they think of an answer; `rating` is null where they took that back.',
    z.object({
      chat_id: Uuid,
      agent_id: Uuid,
      message_id: Uuid,
      run_id: Uuid.nullable(),
      user_id: Uuid.nullable(),
      rating: z.enum(['up', 'down']).nullable(),
      comment: z.string().nullable(),
      timestamp: Time,
    }),
    {
      chat_id: ID,
      agent_id: OTHER_ID,
      message_id: OTHER_ID,
      run_id: OTHER_ID,
      user_id: OTHER_ID,
      rating: 'up',
      comment: 'Just what I needed',
      timestamp: AT,
    },
  ),
  'chat.run.completed': kind(
    'An agent finished its answer, or was stopped.',
    z.object({
      chat_id: Uuid,
      run_id: Uuid,
      agent_id: Uuid,
      message_id: Uuid,
      finish: z.enum(['stop', 'length', 'stopped']),
    }),
    { chat_id: ID, run_id: OTHER_ID, agent_id: OTHER_ID, message_id: OTHER_ID, finish: 'stop' },
  ),
  'chat.run.failed': kind(
    'The answer of an agent ended by a failure; what text had come is kept.',
    z.object({
      chat_id: Uuid,
      run_id: Uuid,
      agent_id: Uuid,
      message_id: Uuid.nullable(),
      code: z.string(),
      message: z.string(),
    }),
    {
      chat_id: ID,
      run_id: OTHER_ID,
      agent_id: OTHER_ID,
      message_id: null,
      code: 'upstream_stalled',
      message: 'The agent sent nothing for 60 seconds',
    },
  ),
  'user.created': kind(
    'A user joined the tenant.',
    z.object({
      user_id: Uuid,
      tenant_id: Uuid,
      email: z.string(),
      role: z.string(),
      full_name: z.string().nullable(),
    }),
    {
      user_id: ID,
      tenant_id: OTHER_ID,
      email: 'ada@example.com',
      role: 'member',
      full_name: 'Ada Lovelace',
    },
  ),
  'team.created': kind('A team was made.', TEAM, TEAM_EXAMPLE),
  'team.updated': kind('A team was renamed or described.', TEAM, TEAM_EXAMPLE),
  'team.deleted': kind('A team was deleted; its members are still users.', TEAM, TEAM_EXAMPLE),
  'team.member.added': kind('A user came into a team.', MEMBER, { team_id: ID, user_id: OTHER_ID }),
  'team.member.removed': kind('A user was taken out of a team.', MEMBER, { team_id: ID, user_id: OTHER_ID }),
  'user.deleted': kind(
    'A user was removed from the tenant.',
    z.object({
      user_id: Uuid,
      tenant_id: Uuid,
      email: z.string(),
      role: z.string(),
      full_name: z.string().nullable(),
    }),
    {
      user_id: ID,
      tenant_id: OTHER_ID,
      email: 'ada@example.com',
      role: 'member',
      full_name: 'Ada Lovelace',
    },
  ),
  'api_key.created': kind(
    'An API key was made; the key itself is not in the event.',
    z.object({ api_key_id: Uuid, name: z.string(), prefix: z.string(), scopes: z.array(z.string()) }),
    { api_key_id: ID, name: 'billing job', prefix: 'sk_live_4fT9', scopes: ['interactions:write'] },
  ),
  'api_key.revoked': kind(
    'An API key was revoked.',
    z.object({ api_key_id: Uuid, name: z.string(), prefix: z.string() }),
    { api_key_id: ID, name: 'billing job', prefix: 'sk_live_4fT9' },
  ),
  'job.completed': kind('A job was completed.', JOB, JOB_EXAMPLE),
  'job.failed': kind(
    'A job failed; what its steps did until then stands, and it can be retried from there.',
    JOB.extend({ error: z.object({ code: z.string(), message: z.string() }) }),
    { ...JOB_EXAMPLE, error: { code: 'not_found', message: 'There is no endpoint with that id' } },
  ),
  ...ABOUT_TICKETS,
  ...ABOUT_ALERTS,
  ...ABOUT_BILLING,
  ...ABOUT_CALLS,
  ...ABOUT_CAMPAIGNS,
  ...ABOUT_ITEMS,
  ...ABOUT_WEBHOOKS,
} as const

export type BuiltInType = keyof typeof CATALOGUE
export type DataOf<T extends BuiltInType> = z.input<(typeof CATALOGUE)[T]['data']>

/** Names that the service keeps for itself besides the catalogue's: what it will send, and what it takes in. */
const RESERVED =
  /^(?:campaign\.completed|alert\.raised|job\.(?:completed|failed)|(?:call|ticket|endpoint|delivery|incoming)\..+)$/

/** Whether a type is one of the service's own, which a tenant can't send. */
export function isBuiltIn(type: string): boolean {
  return Object.hasOwn(CATALOGUE, type) || RESERVED.test(type)
}

/**
 * Whether an event is about webhooks themselves; the end of such a delivery is not announced, or it would go round. No
 * more than these: applications may send types of like names, and hear of their dead letters.
 */
export function isAboutWebhooks(type: string): boolean {
  return Object.hasOwn(ABOUT_WEBHOOKS, type)
}

/** A built-in event for `commit`, its data checked by the compiler. */
export function eventOf<T extends BuiltInType>(type: T, data: DataOf<T>): { type: T; data: DataOf<T> } {
  return { type, data }
}

/** An example of a type's data; of a tenant's own type only that it is a test. */
export function sampleOf(type: string): Record<string, unknown> {
  return Object.hasOwn(CATALOGUE, type) ? CATALOGUE[type as BuiltInType].example : { test: true }
}

/** The catalogue as it is listed. Made once: a list of it costs nothing to make. */
export const EVENT_TYPES = Object.entries(CATALOGUE).map(([name, { description, example }]) => ({
  name,
  description,
  example: example as Record<string, unknown>,
}))
