import * as z from 'zod'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { Time } from '../../../lib/wire'
import { attemptsBetween } from '../../webhooks/endpoints/stats'

export const StatsOf = { since: Time.optional(), until: Time.optional() }

export const StatsOut = z
  .object({
    success: z.int().meta({ description: 'Attempts that worked.' }),
    fail: z.int().meta({ description: 'Attempts that failed.' }),
    pending: z.int().meta({ description: 'Messages that wait now, counted up to 20,000.' }),
    sending: z.literal(0),
    canceled: z.literal(0),
  })
  .meta({ id: 'SvixEndpointStats' })

/** As far back as Svix looks; a little more, since clocks differ. */
const MOST_MS = 28 * 24 * 3600_000
const LEEWAY_MS = 5 * 60_000

/** An endpoint's attempts in a time, by the hours that it touches. */
export async function endpointStats(
  ctx: Context,
  id: string,
  asked: { since?: string | undefined; until?: string | undefined },
): Promise<z.input<typeof StatsOut>> {
  const until = asked.until === undefined ? ctx.now : Date.parse(asked.until)
  const since = asked.since === undefined ? until - MOST_MS : Date.parse(asked.since)
  if (until > ctx.now + LEEWAY_MS) throw problem.invalid({ until: 'must not be in the future' })
  if (since > until) throw problem.invalid({ since: 'must be before until, which is now if it is left out' })
  if (until - since > MOST_MS + LEEWAY_MS)
    throw problem.invalid({ since: 'must be at most 28 days before until' })
  const { succeeded, failed, waiting } = await attemptsBetween(ctx, id, since, until)
  const pending = waiting.pending + waiting.held
  return { success: succeeded, fail: failed, pending, sending: 0, canceled: 0 }
}
