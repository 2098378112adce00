import { problem } from '../../../../lib/problem'
import type { CountBytes } from '../../../metering/usage/streamed'
import type { Caller } from '../caller'
import { tellingOf } from '../formats/tell'
import { ordered } from '../formats/ui-order'
import type { RunRow } from '../log/conversation'
import { RunReader } from '../readers/run-reader'
import type { Room } from '../room'
import type { FollowedRun, PostedMessage } from '../verbs'

/** What is known of a client beside what it asked for: when it leaves, and who counts what passes to it. */
export type Watch = { signal: AbortSignal; count: CountBytes }

/** What becomes of an order: the run’s stream, or a document. */
export type Taken = ({ stream: ReadableStream } | { json: unknown }) & { replayed: boolean }

/** Takes what begins a run, and answers it in the way that is wanted: its stream, both its messages, or that it began. */
export async function takeOrder(
  room: Room,
  { call, input, answer, format, agent_id }: PostedMessage,
  signal: AbortSignal,
  count: CountBytes,
): Promise<Taken> {
  const { caller, traceparent } = call
  if (agent_id !== undefined) await refuseOther(room, caller, agent_id)
  const { run, replayed } = await room.send({
    caller,
    traceparent,
    input: await ordered(room, caller, input),
  })
  if (answer === 'exchange') return { json: await room.exchange(caller, run.id), replayed }
  if (answer === 'started') {
    const status = room.conversation.message(run.answer_id, room.log)?.status ?? 'streaming'
    return { json: { run_id: run.id, message_id: run.answer_id, status }, replayed }
  }
  return { stream: tellRun(room, call, run, { format, signal, count }).readable, replayed }
}

/** 422 where the chat is another agent’s; who may not write here is told nothing of it. */
async function refuseOther(room: Room, caller: Caller, agentId: string): Promise<void> {
  const chat = await room.access.chat(caller, 'editor')
  if (chat.agent_id !== agentId)
    throw problem.invalid({ model: `must be ${chat.agent_id}, the chat’s own agent` })
}

/** Tells a run to a new reader: what was said of it already, then what is. */
export function tellRun(
  room: Room,
  { caller }: FollowedRun['call'],
  run: RunRow,
  { format, signal, count }: Watch & Pick<FollowedRun, 'format'>,
  gone: (reader: RunReader) => void = () => {},
): RunReader {
  const on = {
    wantsMore: (one: RunReader) => room.audience.pull(one),
    gone: (one: RunReader) => {
      room.audience.remove(one)
      gone(one)
    },
  }
  const agent_id = room.store.get('agent_id') ?? ''
  const reader = new RunReader(caller, run, on, { count, telling: tellingOf(format, { ...run, agent_id }) })
  signal.addEventListener('abort', () => reader.leave())
  reader.backlog = room.audience.after(run.first_seq, reader)
  room.audience.add(reader)
  return reader
}
