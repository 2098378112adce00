import type { Loss } from '../../../realtime/rights'
import type { Caller } from '../caller'
import type { Frame, RoomEvent } from '../log/protocol'

/** One connection that follows the chat. */
export interface Reader {
  readonly caller: Caller
  /** Whether it is told what is not logged too: who is there, who types. */
  readonly follows?: boolean
  /** What it has still to be given before it follows live; null while it is up to date. */
  backlog: Iterator<Frame> | null
  /** Whether an entry is for this reader at all. */
  wants(event: RoomEvent): boolean
  /**
   * Whether it is sent a message for what it is given: for each frame, as a client’s own socket is, or one that may hold
   * several, as a Worker is that holds a client’s stream.
   */
  readonly served?: 'alone' | 'together' | null
  /** Whether it takes more of its backlog now; one that does not asks by `Audience.pull` when it does. */
  ready(): boolean
  /** Gives it a frame; false where it could not take it, and is to be given it again. */
  take(frame: Frame): boolean
  /** Gives one that is served `together` several frames as one. */
  takeTogether?(frames: readonly Frame[]): void
  /** Asks the Worker of one that is served `together` for a word, which says that it has what it was sent before. */
  echo?(): void
  /** Ends the connection because of lost rights, or because the chat is gone. */
  end(loss: Loss): void
}
