import { DurableObject } from 'cloudflare:workers'
import type { Bindings } from '../../../env'

export class ChatRoom extends DurableObject<Bindings> {
  /** Answers that objects of this class run (`/health/ready`); it stores nothing. */
  async ping(): Promise<'pong'> {
    return 'pong'
  }
}
