import type { RunEnd, RunSink } from './run'
import type { Parts } from './runs'

/** What a run’s events do to the chat: each is an entry of the log, given to all who follow. */
export function sinkOf(
  { log, audience, store }: Parts,
  answerId: string,
  on: { handedOver: () => void; end: (end: RunEnd) => void },
): RunSink {
  return {
    ...on,
    status: (data) => audience.publish(store.atomically(() => log.append(Date.now(), 'status', data))),
    tool: (data) => audience.publish(store.atomically(() => log.append(Date.now(), 'tool', data))),
    sources: (sources) => {
      const update = { id: answerId, metadata: { sources } }
      audience.publish(store.atomically(() => log.append(Date.now(), 'message.updated', update)))
    },
    text: (content) => {
      const { event, full } = log.delta(content)
      audience.publish([event])
      return full
    },
    flush: () => log.flush(Date.now()),
  }
}
