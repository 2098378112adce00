import type { Store } from './store'

/** What the object can be woken for. */
export type AlarmName = 'run' | 'outbox' | 'compact' | 'removal' | 'rights' | 'push'

/** A handler that is cut off is due again after this. */
const AGAIN_MS = 60_000

/** Due times by name behind the object’s one alarm. */
export class Alarms {
  private armed: number | null | undefined

  constructor(
    private readonly store: Store,
    private readonly storage: Pick<DurableObjectStorage, 'setAlarm' | 'deleteAlarm'>,
  ) {}

  /** Wakes the object for `name` at `due`, in place of the time that was set before. */
  set(name: AlarmName, due: number): void {
    this.store.run(
      'insert into alarms values (?, ?) on conflict (name) do update set due = excluded.due',
      name,
      due,
    )
    this.arm()
  }

  /** The same, but an earlier time that is set already stays. */
  atLatest(name: AlarmName, due: number): void {
    const known = this.store.row<{ due: number }>('select due from alarms where name = ?', name)
    if (!known || known.due > due) this.set(name, due)
  }

  clear(name: AlarmName): void {
    this.store.run('delete from alarms where name = ?', name)
    this.arm()
  }

  /** What is due; each is due again in a minute unless its handler says otherwise, whatever becomes of the handler. */
  take(now: number): AlarmName[] {
    if (!this.store.exists) return []
    this.armed = null
    const due = this.store.rows<{ name: AlarmName }>(
      'select name from alarms where due <= ? order by due',
      now,
    )
    this.store.run('update alarms set due = ? where due <= ?', now + AGAIN_MS, now)
    this.arm()
    return due.map((row) => row.name)
  }

  private arm(): void {
    const next = this.store.row<{ due: number | null }>('select min(due) as due from alarms')?.due ?? null
    if (next === this.armed) return
    this.armed = next
    if (next === null) void this.storage.deleteAlarm()
    else void this.storage.setAlarm(next)
  }
}
