import type { CountBytes } from '../../../metering/usage/streamed'
import type { Caller } from '../caller'
import type { SocketReader } from './socket-reader'
import type { StoredWindow } from './window'

/** What lies beside a sleeping socket (2 KiB at most). */
export type Attachment = { caller: Caller; format: 'sse' | 'ws'; behind: boolean; window?: StoredWindow }

export type SocketOptions = {
  /** It takes nothing any more. */
  gone?: (reader: SocketReader) => void
  firstAckMs?: number | undefined
  shows?: (messageId: string) => boolean
  /** Counts the bytes of a client’s own socket; of an SSE response its Worker does. */
  count?: CountBytes
}
