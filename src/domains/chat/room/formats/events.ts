import { RUN_EVENTS } from '../log/protocol'
import { RETRY } from '../readers/sse'
import type { Telling } from './format'

/** The chat’s own events, as they are. */
export const asEvents: Telling = {
  types: RUN_EVENTS,
  greeting: RETRY,
  of: (frame) => [frame.sse],
  told: () => {},
}
