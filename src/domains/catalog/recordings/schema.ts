import type { Done, Said } from '../interactions/schema'

/** What was sent, and the recording that came along. */
export type Given = { input: Said | Done; audio: Blob | null }
