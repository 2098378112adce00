import { DurableObject } from 'cloudflare:workers'
import type { Bindings } from '../../../env'

export class Sweeper extends DurableObject<Bindings> {
  async watch(): Promise<void> {}
}
