import { app } from './app'
import type { Bindings } from './env'

export { ChatRoom } from './domains/chat/room/object'
export { EndpointSender } from './domains/webhooks/deliveries/object'
export { Sweeper } from './domains/webhooks/deliveries/sweeper'

export default {
  fetch: app.fetch,
} satisfies ExportedHandler<Bindings>
