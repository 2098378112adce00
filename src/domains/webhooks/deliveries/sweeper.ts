import { DurableObject } from 'cloudflare:workers'
import { WATCH_MS } from '../../../data/outbox'
import { dueNext } from '../../../data/sweeping'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'
import { sweep } from './sweep'

/** How soon after a crash what it left is seen. */
const SWEEP_EVERY_MS = 5_000

/** So much of a promise is good enough for who asks for one: those who ask are many, and each promise is a write. */
const ENOUGH_MS = (WATCH_MS * 3) / 4

/**
 * One for the whole service: looks at what is undone for as long as anyone calls or writes events, then sleeps until
 * somebody does, or something is due by the clock.
 */
export class Sweeper extends DurableObject<Bindings> {
  /** Answers that objects of this class run (`/health/ready`); it stores nothing. */
  async ping(): Promise<'pong'> {
    return 'pong'
  }

  /** Promises to look for ENOUGH_MS more, and then for as long as anything is undone; the promise survives a crash. */
  async watch(): Promise<void> {
    const until = (await this.ctx.storage.get<number>('until')) ?? 0
    if (until < Date.now() + ENOUGH_MS) await this.ctx.storage.put('until', Date.now() + WATCH_MS)
    const soon = Date.now() + SWEEP_EVERY_MS
    if (((await this.ctx.storage.getAlarm()) ?? Number.POSITIVE_INFINITY) > soon)
      await this.ctx.storage.setAlarm(soon)
  }

  /** Sets the next alarm first and never throws: an alarm that fails seven times is dropped for good. */
  override async alarm(): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now() + SWEEP_EVERY_MS)
    try {
      if ((await sweep(this.env, this.ctx)) > 0) return
      const next = await dueNext(this.env)
      // Nothing but the storage is awaited from here on: whoever calls meanwhile comes after, and wakes it.
      const until = (await this.ctx.storage.get<number>('until')) ?? 0
      if (Date.now() <= until) return
      if (next === null) await this.ctx.storage.deleteAlarm()
      else await this.ctx.storage.setAlarm(Math.max(next, Date.now() + 1_000))
    } catch (error) {
      log.error('sweep_failed', { cause: String(error) })
    }
  }
}
