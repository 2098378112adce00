import type { Listener } from './listener'

/** The header by which the Worker says who joins a channel. */
export const JOIN_HEADER = 'x-realtime-join'

/** Who joins, when the right to was looked at, and after which frame. */
export type Join = { listener: Listener; at: number; after: string | null }
