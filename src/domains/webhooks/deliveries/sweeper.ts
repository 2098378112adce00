import { DurableObject } from 'cloudflare:workers'
import { WATCH_MS } from '../../../data/outbox'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'
import { sweep } from './sweep'

/** How soon after a crash what it left is seen. */
const SWEEP_EVERY_MS = 5_000

/** So much of a promise is good enough for who asks for one: those who ask are many, and each promise is a write. */
const ENOUGH_MS = (WATCH_MS * 3) / 4

/** One for the whole service: looks at what is undone for as long as anyone calls or writes events, then sleeps. */
export class Sweeper extends DurableObject<Bindings> {
  /** Answers that objects of this class run (`/health/ready`); it stores nothing. */
  async ping(): Promise<'pong'> {
    return 'pong'
  }

  /** Promises to look for ENOUGH_MS more, and then for as long as anything is undone; the promise survives a crash. */
  async watch(): Promise<void> {
    const until = (await this.ctx.storage.get<number>('until')) ?? 0
    if (until < Date.now() + ENOUGH_MS) await this.ctx.storage.put('until', Date.now() + WATCH_MS)
    if ((await this.ctx.storage.getAlarm()) === null)
      await this.ctx.storage.setAlarm(Date.now() + SWEEP_EVERY_MS)
  }

  /** Sets the next alarm first and never throws: an alarm that fails seven times is dropped for good. */
  override async alarm(): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now() + SWEEP_EVERY_MS)
    try {
      const undone = await sweep(this.env, this.ctx)
      const until = (await this.ctx.storage.get<number>('until')) ?? 0
      if (undone === 0 && Date.now() > until) await this.ctx.storage.deleteAlarm()
    } catch (error) {
      log.error('sweep_failed', { cause: String(error) })
    }
  }
}
