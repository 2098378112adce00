import { and, eq } from 'drizzle-orm'
import { commit, MAX_PAYLOAD, type NewEvent } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { type Path, valueAt } from '../endpoints/filter'
import { type Consequence, consequencesOf, untilSettled } from './heard'
import { type Message, typeWords } from './message'
import { type Provider, receivedWebhooks } from './table'

/** Who sent a webhook, and what they call it. */
export type Sender = {
  /** The source's id, or the provider's name. */
  source: string
  source_id: string | null
  /** What the source's events are named by: its kind, or the provider. */
  kind: string
  name: string
  /** Which of the secrets signed it. */
  signed_by: number
  key: string
  type: string
  /** Where its payload says whom or what it is about. */
  subject_path: Path | null
}

/** What became of it: its record and its event; of one that was here before, those that there are. */
export type Receipt = { id: string; event_id: string | null; duplicate: boolean }

/** The tenant of what is nobody's. */
export const NOBODY = 'public'

/**
 * Takes in a webhook that was verified: its record, and the event that it becomes, are one batch, or neither stands.
 * Where it was here before, nothing is done. What is nobody's becomes no event. Of a provider's, what follows from it is
 * in that batch, too.
 */
export async function receiveWebhook(
  ctx: Context,
  sender: Sender,
  message: Message,
  body: Uint8Array<ArrayBuffer>,
  provider: Provider | null = null,
): Promise<Receipt> {
  const id = newId(ctx.now)
  const event_id = ctx.tenant.id === NOBODY ? null : `msg_${id}`
  const event = event_id === null ? null : eventFor(ctx, sender, message, id, event_id)
  const body_key = event?.tooLarge ? `${ctx.tenant.id}/incoming/${id}` : null
  if (body_key !== null) await ctx.env.FILES.put(body_key, message.text)
  const { source, key, type, signed_by } = sender
  const row = {
    ...{ tenant_id: ctx.tenant.id, id, source, key, type, event_id, body_key, signed_by },
    ...{ size_bytes: body.byteLength, received_at: iso(ctx.now) },
  }
  const known = problem('already_exists', 'The webhook was taken in before')
  try {
    return await untilSettled(async () => {
      const heard = { key, type, value: message.value, own: sender.source_id !== null }
      const {
        statements = [],
        events = [],
        ...follows
      }: Consequence = provider === null || event === null ? {} : await consequencesOf(ctx, provider, heard)
      const receipt = await commit(ctx, {
        statements: [ctx.db.insert(receivedWebhooks).values(row), ...statements],
        events: [...(event ? [event.announced] : []), ...events],
        audit: follows.audit ?? [],
        tell: follows.tell ?? [],
        unique: { 'received_webhooks.source, received_webhooks.key': known, ...follows.unique },
        result: { id, event_id, duplicate: false },
      })
      if (follows.after) ctx.defer(follows.after())
      return receipt
    })
  } catch (error) {
    if (error !== known) throw error
    if (body_key !== null) await ctx.env.FILES.delete(body_key)
    const receipt = await earlier(ctx, source, key)
    // A key stands for that answer, too.
    return ctx.idempotency ? commit(ctx, { statements: [], result: receipt }) : receipt
  }
}

async function earlier(ctx: Context, source: string, key: string): Promise<Receipt> {
  const [row] = await ctx.db
    .select({ id: receivedWebhooks.id, event_id: receivedWebhooks.event_id })
    .from(receivedWebhooks)
    .where(
      and(
        eq(receivedWebhooks.tenant_id, ctx.tenant.id),
        eq(receivedWebhooks.source, source),
        eq(receivedWebhooks.key, key),
      ),
    )
    .limit(1)
  if (!row) throw problem('service_unavailable', 'The webhook can’t be found just now; send it again')
  return { ...row, duplicate: true }
}

/** The event of a webhook; its payload is pasted as it came, so that no number of it is printed otherwise. */
function eventFor(ctx: Context, sender: Sender, message: Message, id: string, event_id: string) {
  const { source_id, kind, name, key, type } = sender
  const subject = subjectOf(message.value, sender.subject_path)
  const received_at = iso(ctx.now)
  const head = JSON.stringify({ source: name, source_id, webhook_id: id, key, type, received_at }).slice(
    0,
    -1,
  )
  const whole = `${head},"payload":${message.text},"payload_omitted":false}`
  const tooLarge = new TextEncoder().encode(whole).byteLength > MAX_PAYLOAD
  const announced: NewEvent = {
    id: event_id,
    type: `incoming.${kind}.${typeWords(type)}`,
    data: null,
    printed: tooLarge ? `${head},"payload":null,"payload_omitted":true}` : whole,
    channels: source_id === null ? [] : [source_id],
    ...(subject === null ? {} : { subject }),
  }
  return { announced, tooLarge }
}

/** As long as any subject may be (events/schema.ts). */
const MOST_CHARACTERS = 255

function subjectOf(payload: unknown, path: Path | null): string | null {
  const value = path === null ? null : valueAt(payload, path)
  const text = Number.isSafeInteger(value) ? String(value) : value
  return typeof text === 'string' && text !== '' && text.length <= MOST_CHARACTERS ? text : null
}
