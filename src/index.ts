import { app } from './app'
import { sealDue } from './domains/audit/seal'
import './domains/billing/sweep'
import './domains/catalog/interactions/counted'
import './domains/catalog/pipeline/sweep'
import './domains/chat/agents/sync/sweep'
import './domains/chat/agents/tools-changed'
import './domains/chat/chats/erasing'
import { tendFiles } from './domains/files/unfinished'
import { tendKeys } from './domains/identity/tokens/chores'
import './domains/metering/erasing'
import './domains/operations/alerts/sweep'
import './domains/operations/tickets/unassign'
import { tendDeletions } from './domains/tenancy/deletions/service'
import './domains/webhooks/deliveries/erasing'
import { consume } from './domains/webhooks/deliveries/queue'
import { sweep } from './domains/webhooks/deliveries/sweep'
import { retain, retainUndone } from './domains/webhooks/retention/service'
import './domains/voice/calls/sweep'
import './domains/workflows/due'
import type { Bindings, EventNudge } from './env'
import { withLegacyPaths } from './http/legacy'
import { LEGACY_PATHS } from './legacy-paths'

export { ChatRoom } from './domains/chat/room/object'
export { JobRunner } from './domains/jobs/object'
export { AddressMeter } from './domains/metering/meter/address-object'
export { Meter } from './domains/metering/meter/object'
export { MetricsShard } from './domains/operations/metrics/object'
export { RealtimeChannel } from './domains/realtime/object'
export { RealtimeTicket } from './domains/realtime/ticket-object'
export { CallDriver } from './domains/voice/calls/object'
export { EndpointSender } from './domains/webhooks/deliveries/object'
export { DeliveryReporter } from './domains/webhooks/deliveries/reporter'
export { Sweeper } from './domains/webhooks/deliveries/sweeper'

export default {
  fetch: withLegacyPaths(LEGACY_PATHS, app.fetch),
  queue: consume,
  async scheduled(controller, env, ctx) {
    await sweep(env, ctx)
    // Whatever waits, however briefly: the next run would be late.
    await sealDue(env, ctx, Date.now())
    // Once an hour is often enough for what is kept for days.
    if (new Date(controller.scheduledTime).getUTCMinutes() === 17) {
      await tendKeys(env, controller.scheduledTime)
      await retain(env, ctx, controller.scheduledTime)
    } else await retainUndone(env, ctx, controller.scheduledTime)
    await tendFiles(env, ctx, controller.scheduledTime)
    // Last, for it takes its time.
    await tendDeletions(env, ctx, controller.scheduledTime)
  },
} satisfies ExportedHandler<Bindings, EventNudge>
