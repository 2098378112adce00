import { app } from './app'
import { consume } from './domains/webhooks/deliveries/queue'
import { sweep } from './domains/webhooks/deliveries/sweep'
import type { Bindings, EventNudge } from './env'
import { withLegacyPaths } from './http/legacy'
import { LEGACY_PATHS } from './legacy-paths'

export { ChatRoom } from './domains/chat/room/object'
export { EndpointSender } from './domains/webhooks/deliveries/object'
export { Sweeper } from './domains/webhooks/deliveries/sweeper'

export default {
  fetch: withLegacyPaths(LEGACY_PATHS, app.fetch),
  queue: consume,
  async scheduled(_controller, env, ctx) {
    await sweep(env, ctx)
  },
} satisfies ExportedHandler<Bindings, EventNudge>
