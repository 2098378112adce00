import type { CountBytes } from '../../../metering/usage/streamed'
import type { PostedMessage } from '../verbs'
import { COMMENT } from './sse'

/** The routes whose answers go on, as usage knows them. */
export const STREAMS = {
  messages: { method: 'POST', endpoint: '/api/v1/chats/:id/messages', status: 200 },
  edit: { method: 'PATCH', endpoint: '/api/v1/chats/:id/messages/:message_id', status: 200 },
  regenerate: { method: 'POST', endpoint: '/api/v1/chats/:id/messages/:message_id/regenerate', status: 200 },
  completions: { method: 'POST', endpoint: '/api/v1/openai/chat/completions', status: 200 },
  stream: { method: 'GET', endpoint: '/api/v1/chats/:id/stream', status: 200 },
  shared: { method: 'GET', endpoint: '/api/v1/shared/:token/stream', status: 200 },
  ws: { method: 'GET', endpoint: '/api/v1/chats/:id/ws', status: 101 },
}

/** The route by which a run was ordered. */
export function orderedBy({ format, input }: Pick<PostedMessage, 'format' | 'input'>): keyof typeof STREAMS {
  if (format.startsWith('openai')) return 'completions'
  return input.kind === 'edit' || input.kind === 'regenerate' ? input.kind : 'messages'
}

/** What passed to one reader. Comments are counted with what comes next: an idle stream must have nobody called. */
export class Passed {
  private comments = 0

  constructor(private readonly count: CountBytes = () => {}) {}

  wrote(chunk: Uint8Array): void {
    if (chunk === COMMENT) this.comments += chunk.byteLength
    else this.settle(chunk.byteLength)
  }

  /** Counts what waits, and `bytes` with it. */
  settle(bytes = 0): void {
    const all = this.comments + bytes
    this.comments = 0
    if (all > 0) this.count(all)
  }
}
