import { DurableObject } from 'cloudflare:workers'
import type { Bindings } from '../../env'
import type { Bearer } from './tickets'

type Kept = { bearer: Bearer; expires: number }

/** One ticket; an object gives it out once, which KV can't promise. */
export class RealtimeTicket extends DurableObject<Bindings> {
  async keep(bearer: Bearer, expires: number): Promise<void> {
    await Promise.all([
      this.ctx.storage.put<Kept>('kept', { bearer, expires }),
      this.ctx.storage.setAlarm(expires),
    ])
  }

  /** Whose it is, the first time and in time; null from then on. */
  async take(now: number): Promise<Bearer | null> {
    const kept = await this.ctx.storage.get<Kept>('kept')
    if (!kept) return null
    await this.end()
    return now < kept.expires ? kept.bearer : null
  }

  override async alarm(): Promise<void> {
    await this.end()
  }

  private async end(): Promise<void> {
    await Promise.all([this.ctx.storage.deleteAlarm(), this.ctx.storage.deleteAll()])
  }
}
