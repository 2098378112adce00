import { channelKind } from '../../realtime/channels'
import { openSocket } from './client'

// `chats:{chat_id}`: the chat’s own log, from its own object, over the socket of all channels. Who may read it is asked
// there, as of every other reader.

channelKind({
  name: 'chats',
  scope: 'chats:read',
  served: { type: 'chat_event', open: (ctx, id, after) => openSocket(ctx, id, 'ws', after) },
})
