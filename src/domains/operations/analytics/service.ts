import type { Context } from '../../../data/context'
import { OF_AGENT } from '../../events/counted'
import { countsByDay, countsByName, type Days } from '../../metering/daily/service'
import { usageGroups } from '../../metering/usage/service'
import type { Stat } from '../../metering/usage/stat'
import { deliveriesByDay, deliveriesByEndpoint } from '../../webhooks/daily/service'
import { type Analysis, analysed, type Found } from './analysis'
import {
  type By,
  CHATS,
  type chatsQuery,
  type DaysQuery,
  INTERACTIONS,
  type interactionsQuery,
  OVERVIEW,
  WEBHOOKS,
  type webhooksQuery,
} from './schema'

// What is counted by day, put together. Everything is read from roll-ups: the rows themselves are looked at once, when
// they are counted (metering/daily).

const DAY_MS = 86_400_000
const MOST_GROUPS = 100

type ChatGroup = { agent_id: string; chats: number; runs_completed: number; runs_failed: number }

/** The built-in events that stand for something of the tenant's, by what an analysis calls them. */
const EVENTS = {
  users_created: 'user.created',
  chats: 'chat.created',
  messages: 'chat.message.created',
  runs_completed: 'chat.run.completed',
  runs_failed: 'chat.run.failed',
  jobs_completed: 'job.completed',
  jobs_failed: 'job.failed',
  tickets_created: 'ticket.created',
  alerts_raised: 'alert.raised',
} as const
const IN_CHATS = ['chats', 'messages', 'runs_completed', 'runs_failed'] as const

/** What the tenant had of everything. */
export function overview(ctx: Context, input: DaysQuery) {
  type Key = (typeof OVERVIEW)[number]
  return analysed<Key>(ctx, input, OVERVIEW, async (days) => {
    const [named, events, interactions, deliveries, requests] = await Promise.all([
      eventsCalled(ctx, days, Object.keys(EVENTS) as (keyof typeof EVENTS)[]),
      countsByDay(ctx, 'events', days),
      countsByDay(ctx, 'interactions', days),
      deliveriesByDay(ctx, days),
      requestsByDay(ctx, days),
    ])
    return [
      ...named,
      ...events.map(({ day, n }) => ({ day, key: 'events' as const, n })),
      ...interactions.map(({ day, n }) => ({ day, key: 'interactions' as const, n })),
      ...deliveries.flatMap(({ day, delivered, exhausted }) => [
        { day, key: 'deliveries_delivered' as const, n: delivered },
        { day, key: 'deliveries_exhausted' as const, n: exhausted },
      ]),
      ...requests.flatMap(({ day, stat }) => [
        { day, key: 'requests' as const, n: stat.requests },
        { day, key: 'errors' as const, n: stat.errors },
      ]),
    ]
  })
}

/** Chats and what agents answered in them; by agent where that is asked. */
export async function chatAnalytics(ctx: Context, input: By<typeof chatsQuery>) {
  type Key = (typeof CHATS)[number]
  const found = await analysed<Key>(ctx, input, CHATS, async (days) => {
    const [named, requests] = await Promise.all([eventsCalled(ctx, days, IN_CHATS), requestsByDay(ctx, days)])
    const tokens = requests.flatMap(({ day, stat: { answers } }) =>
      answers
        ? [
            { day, key: 'prompt_tokens' as const, n: answers.prompt_tokens },
            { day, key: 'completion_tokens' as const, n: answers.completion_tokens },
          ]
        : [],
    )
    return [...named, ...tokens]
  })
  return grouped(found, input.group_by && (() => byAgent(ctx, found)))
}

/** Events, and what came of their deliveries; by endpoint or type where that is asked. */
export async function webhookAnalytics(ctx: Context, input: By<typeof webhooksQuery>) {
  type Key = (typeof WEBHOOKS)[number]
  const found = await analysed<Key>(ctx, input, WEBHOOKS, async (days) => {
    const [events, deliveries] = await Promise.all([
      countsByDay(ctx, 'events', days),
      deliveriesByDay(ctx, days),
    ])
    return [
      ...events.map(({ day, n }) => ({ day, key: 'events' as const, n })),
      ...deliveries.flatMap(({ day, ...counts }) =>
        Object.entries(counts).map(([key, n]) => ({ day, key: key as keyof typeof counts, n })),
      ),
    ]
  })
  if (input.group_by === 'endpoint')
    return grouped(found, () => deliveriesByEndpoint(ctx, found, MOST_GROUPS))
  return grouped(found, input.group_by && (() => byEventType(ctx, found)))
}

/** What was said and done; by type where that is asked. */
export async function interactionAnalytics(ctx: Context, input: By<typeof interactionsQuery>) {
  type Key = (typeof INTERACTIONS)[number]
  const found = await analysed<Key>(ctx, input, INTERACTIONS, async (days) => {
    const [all, said] = await Promise.all([
      countsByDay(ctx, 'interactions', days),
      countsByDay(ctx, 'interactions.type', days, ['speech']),
    ])
    return [
      ...all.flatMap(({ day, n }) => [
        { day, key: 'interactions' as const, n },
        { day, key: 'done' as const, n },
      ]),
      // Whatever was not said was done.
      ...said.flatMap(({ day, n }) => [
        { day, key: 'said' as const, n },
        { day, key: 'done' as const, n: -n },
      ]),
    ]
  })
  return grouped(found, input.group_by && (() => byType(ctx, found)))
}

async function grouped<K extends string, G>(
  found: Analysis<K>,
  read: (() => Promise<G[]>) | undefined | '',
): Promise<Analysis<K> & { groups?: G[] }> {
  return read ? { ...found, groups: await read() } : found
}

async function eventsCalled<K extends keyof typeof EVENTS>(
  ctx: Context,
  days: Days,
  keys: readonly K[],
): Promise<Found<K>[]> {
  const rows = await countsByDay(
    ctx,
    'events.type',
    days,
    keys.map((key) => EVENTS[key]),
  )
  return rows.flatMap(({ day, name, n }) => {
    const key = keys.find((one) => EVENTS[one] === name)
    return key ? [{ day, key, n }] : []
  })
}

async function requestsByDay(ctx: Context, { from, to }: Days): Promise<{ day: string; stat: Stat }[]> {
  const end = Math.min(Date.parse(`${to}T00:00:00.000Z`) + DAY_MS, ctx.now + 1)
  const start = Date.parse(`${from}T00:00:00.000Z`)
  if (start >= end) return []
  const groups = await usageGroups(ctx, 'day', start, end)
  return groups.map(({ group, stat }) => ({ day: new Date(Number(group)).toISOString().slice(0, 10), stat }))
}

async function byAgent(ctx: Context, days: Days): Promise<ChatGroup[]> {
  const rows = await countsByName(ctx, 'events.agent', days, MOST_GROUPS * OF_AGENT.length)
  const agents = new Map<string, ChatGroup>()
  for (const { name, n } of rows) {
    const [type = '', agent_id = ''] = name.split(' ')
    const group = agents.get(agent_id) ?? { agent_id, chats: 0, runs_completed: 0, runs_failed: 0 }
    agents.set(agent_id, group)
    const key = IN_CHATS.find((one) => EVENTS[one] === type)
    if (key && key !== 'messages') group[key] += n
  }
  return [...agents.values()].slice(0, MOST_GROUPS)
}

const byEventType = async (ctx: Context, days: Days) =>
  (await countsByName(ctx, 'events.type', days, MOST_GROUPS)).map(({ name, n }) => ({
    event_type: name,
    events: n,
  }))

const byType = async (ctx: Context, days: Days) =>
  (await countsByName(ctx, 'interactions.type', days, MOST_GROUPS)).map(({ name, n }) => ({
    type: name,
    interactions: n,
  }))
