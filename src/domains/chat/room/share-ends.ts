import { log } from '../../../lib/log'
import type { Rights } from '../../realtime/rights'
import type { Access } from './access'
import type { Alarms } from './alarms'
import type { Caller } from './caller'
import type { ChatLog } from './log/log'
import type { Audience } from './readers/audience'

type Parts = { access: Access; rights: Rights<Caller>; audience: Audience; alarms: Alarms; log: ChatLog }

/** Sends away who came in by a share that has ended, though nothing be said. */
export class ShareEnds {
  constructor(private readonly parts: Parts) {}

  /** Somebody follows from now on. What ended where a guest is at home, before it was noted there, is seen now. */
  joined({ impersonator }: Caller): void {
    this.expect()
    if (impersonator)
      this.recheck().catch((error: unknown) => log.warn('guest_not_rechecked', { cause: String(error) }))
  }

  /** Looks at once whether everyone who follows still may. */
  async recheck(): Promise<void> {
    this.parts.rights.forget()
    await this.parts.audience.refresh()
    this.expect()
  }

  /** Has the object woken when the first of the shares ends that somebody came in by. */
  private expect(): void {
    const { endsAt } = this.parts.access
    if (endsAt === null) return
    this.parts.log.begin()
    this.parts.alarms.atLatest('rights', endsAt)
  }

  /** One has ended. */
  async due(): Promise<void> {
    const { access, alarms } = this.parts
    access.endsAt = null
    await this.recheck()
    if (access.endsAt === null) alarms.clear('rights')
    else alarms.set('rights', access.endsAt)
  }
}
