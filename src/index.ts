import { app } from './app'
import type { Bindings } from './env'
import { withLegacyPaths } from './http/legacy'
import { LEGACY_PATHS } from './legacy-paths'

export { ChatRoom } from './domains/chat/room/object'
export { EndpointSender } from './domains/webhooks/deliveries/object'
export { Sweeper } from './domains/webhooks/deliveries/sweeper'

export default {
  fetch: withLegacyPaths(LEGACY_PATHS, app.fetch),
} satisfies ExportedHandler<Bindings>
