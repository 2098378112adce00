import { commit, MAX_PAYLOAD } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { Problem } from '../../../lib/problem'
import { heldAgainstTypes } from '../../events/types/held'
import { currentTenant } from '../../tenancy/tenants/service'
import type { WebhookStep } from '../definition'
import { originOf } from '../origin'
import { Filler, type Scope } from '../template'
import { type Performed, StepFailure, type Visit } from './performed'

/** An event of the tenant's own, committed with the checkpoint: it is sent once, to every endpoint that takes it. */
export async function performWebhook(
  ctx: Context,
  step: WebhookStep,
  scope: Scope,
  { run_id, key }: Visit,
): Promise<Performed> {
  const filler = new Filler(scope)
  const data = filler.value(step.data)
  const subject = step.subject === undefined ? undefined : filler.text(step.subject)
  if (subject !== undefined && (subject === '' || subject.length > 255))
    throw new StepFailure('its subject must have 1 to 255 characters')
  if (JSON.stringify(data).length > MAX_PAYLOAD / 4)
    throw new StepFailure(`its data is over ${MAX_PAYLOAD / 4 / 1024} KiB`)
  const event = {
    ...{ id: `msg_${newId(Date.now())}`, type: step.event_type, data, channels: step.channels },
    ...{ occurred_at: iso(Date.now()), origin: originOf(run_id, key) },
    ...(subject === undefined ? {} : { subject }),
    ...(await differing(ctx, step.event_type, data)),
  }
  return { output: { event_id: event.id }, change: { statements: [], events: [event] } }
}

/** How the data differs from the schema of its type, where that only warns; a failure where it refuses. */
async function differing(ctx: Context, type: string, data: unknown): Promise<{ schema_error?: string }> {
  // Work that nobody asked for knows no settings of its tenant; whether types must be known is one of them.
  const tenant = { ...ctx.tenant, settings: { ...(await currentTenant(ctx)).settings } }
  try {
    const found = await heldAgainstTypes({ ...ctx, tenant }, [{ type, data }], ({ schemaErrors, stands }) =>
      commit(ctx, { statements: [stands], result: schemaErrors[0] ?? null }),
    )
    return found === null ? {} : { schema_error: found }
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'validation_failed') throw error
    const fields = Object.entries((error.details.fields ?? {}) as Record<string, string>)
    throw new StepFailure(`its event is refused: ${fields.map(([at, why]) => `${at} ${why}`).join('; ')}`)
  }
}
