import type { OpenStreams } from '../../../metering/limits/open-streams'
import type { Room } from '../room'
import { tellRun, type Watch } from '../runs/taking'
import type { FollowedRun } from '../verbs'
import type { RunReader } from './run-reader'

/** Who follows the run that goes on by a stream of its own; each is one of the streams that the tenant has open. */
export class Followers {
  private readonly readers = new Set<RunReader>()

  get size(): number {
    return this.readers.size
  }

  /** The run that goes on, told from its beginning; null where none does. */
  async follow(
    room: Room,
    { call, format }: FollowedRun,
    watch: Watch,
    streams: OpenStreams | null,
  ): Promise<ReadableStream | null> {
    const { count } = room.rights
    await room.access.chat(call.caller)
    room.rights.admit(call.caller, Date.now(), count)
    if (!room.runs.going || !streams) return null
    const readable = await streams.admit(() => {
      const run = room.runs.going
      if (!run) return null
      const reader = tellRun(room, call, run, { format, ...watch }, (one) => {
        if (this.readers.delete(one)) void streams.tell()
      })
      this.readers.add(reader)
      return reader.readable
    })
    // The run may have ended while that was asked.
    if (!readable) await streams.tell()
    return readable
  }
}
