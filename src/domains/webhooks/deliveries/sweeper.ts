import { DurableObject } from 'cloudflare:workers'
import type { Bindings } from '../../../env'

export class Sweeper extends DurableObject<Bindings> {
  /** Answers that objects of this class run (`/health/ready`); it stores nothing. */
  async ping(): Promise<'pong'> {
    return 'pong'
  }

  async watch(): Promise<void> {}
}
