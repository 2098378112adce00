import { UpstreamFailure } from '../../agents/upstreams/upstream'
import type { Alarms } from '../alarms'
import type { Store } from '../store'
import type { Past, Run } from './run'

/** What is known of a run whose agent answers by callback. */
export type Callback = {
  /** The number of the event that is to come next. */
  next: number
  heard_at: number
  /** Of all events so far. */
  bytes: number
  first_at: number | null
  /** Whether the agent itself ended the run. */
  ended: number
}

const NOTHING: Omit<Callback, 'heard_at'> = { next: 1, bytes: 0, first_at: null, ended: 0 }

/**
 * The runs whose agents answer by callback. All that an agent was told to be taken is on disk, so such a run goes on after a
 * restart; meanwhile nothing keeps the object awake but the end of its patience.
 */
export class Callbacks {
  constructor(
    private readonly store: Store,
    private readonly alarms: Alarms,
    private readonly silenceMinutes: () => number,
  ) {}

  of(runId: string): Callback | null {
    const columns = 'next, heard_at, bytes, first_at, ended'
    return this.store.row<Callback>(`select ${columns} from callbacks where run_id = ?`, runId) ?? null
  }

  /** Notes that a run goes on by callback. */
  open(runId: string, now: number): void {
    this.heard(runId, { ...NOTHING, heard_at: now })
    this.alarms.set('run', now + this.silenceMs)
  }

  heard(runId: string, { next, heard_at, bytes, first_at, ended }: Callback): void {
    const values = [runId, next, heard_at, bytes, first_at, ended]
    this.store.run('insert or replace into callbacks values (?, ?, ?, ?, ?, ?)', ...values)
  }

  /** The past of a run that goes on though the object was cut off. */
  past(run: { id: string; started_at: number }): Past | null {
    const known = this.of(run.id)
    return known && { started_at: run.started_at, first_at: known.first_at }
  }

  /** Ends the run where its agent was silent for too long, else is woken when it will have been. */
  watch(run: Run, now: number): void {
    const due = (this.of(run.id)?.heard_at ?? 0) + this.silenceMs
    const message = `The agent posted nothing for ${this.silenceMinutes()} minutes`
    if (due > now) this.alarms.set('run', due)
    else run.fail(new UpstreamFailure('upstream_stalled', message, true))
  }

  private get silenceMs(): number {
    return this.silenceMinutes() * 60_000
  }
}
