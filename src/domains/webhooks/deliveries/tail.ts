import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { channelKind, publish, type Said } from '../../realtime/channels'
import { endpoints } from '../endpoints/table'
import type { Report } from './attempt-log'
import { senderOf } from './wake'

// The live tail: `deliveries:{endpoint_id}` says how every attempt of an endpoint ended. The endpoint's object publishes
// while somebody listens, and not a word otherwise.

channelKind({
  name: 'deliveries',
  scope: 'deliveries:read',
  greet: async (ctx: Context, id) => {
    if (!(await find(ctx, endpoints, id))) throw problem.notFound('endpoint', id)
    return null
  },
  wake: async (env, tenant_id, endpoint_id) => (await senderOf(env, { tenant_id, endpoint_id })).listen(),
})

const KEY = 'tail'

/** Whether somebody listens to an endpoint's deliveries, beside the attempts that they are about. */
export class Tail {
  private on = false

  constructor(
    private readonly storage: DurableObjectStorage,
    private readonly env: Bindings,
  ) {}

  /** What was stored, when the object wakes. */
  async restore(): Promise<void> {
    this.on = (await this.storage.get<boolean>(KEY)) ?? false
  }

  async begin(): Promise<void> {
    this.on = true
    await this.storage.put(KEY, true)
  }

  /** Tells of attempts that D1 knows now; never fails, and tells no more once nobody listens. */
  async tell(tenant_id: string, endpoint_id: string, reports: readonly Report[]): Promise<void> {
    if (!this.on || reports.length === 0) return
    try {
      const said = reports.map((one) => delivery(endpoint_id, one))
      if (await publish(this.env, tenant_id, `deliveries:${endpoint_id}`, said)) return
      this.on = false
      await this.storage.delete(KEY)
    } catch (error) {
      log.warn('tail_not_told', { tenant_id, endpoint_id, cause: describeError(error) })
    }
  }
}

function delivery(endpoint_id: string, report: Report): Said {
  const { delivery_id, event_id, event_type, number, ended_at, response_status, error, verdict } = report
  const { status, next_attempt_at } = verdict
  const attempt = { number, ended_at: iso(ended_at), response_status, error }
  const next = next_attempt_at === null ? null : iso(next_attempt_at)
  return {
    type: 'delivery',
    data: { id: delivery_id, event_id, event_type, endpoint_id, status, next_attempt_at: next, attempt },
  }
}
