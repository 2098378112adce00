import { utf8 } from '../../../../lib/encoding'
import { problem } from '../../../../lib/problem'
import { LIMITS } from '../../agents/upstreams/limits'
import { UpstreamFailure } from '../../agents/upstreams/upstream'
import type { RunEvent, RunEvents, RunProgress } from '../../runs/schema'
import type { RunRow } from '../log/conversation'
import type { Room } from '../room'
import type { Callback } from './callbacks'
import type { Run, TakenEvent } from './run'

/**
 * Takes what an agent posts of its run: what came before is passed over, the rest is in the log when this returns. 404 where
 * there is no such run, 409 where numbers are missing, or where the run is over or not the agent’s to go on with.
 */
export function takeRunEvents(room: Room, runId: string, { sequence, events }: RunEvents): RunProgress {
  const row = room.store.exists ? room.conversation.runById(runId) : null
  if (!row) throw problem.notFound('run', runId)
  const known = room.runs.callbacks.of(runId)
  const next = known?.next ?? 1
  if (sequence > next)
    throw problem('sequence_gap', `Events from number ${next} on are missing`, {
      details: { run_id: runId, expected_sequence: next, sequence },
    })
  const fresh = events.slice(next - sequence)
  if (row.status !== 'running') {
    if (known?.ended && fresh.length === 0) return progressOf(row, next)
    throw over(room, row)
  }
  if (fresh.length === 0) return progressOf(row, next)
  const run = room.runs.byCallback(runId)
  if (!run)
    throw problem('run_not_by_callback', 'The agent answers this run over its connection', {
      details: { run_id: runId },
    })
  const taken = take(room, run, fresh, room.runs.callbacks.of(runId))
  return progressOf(room.conversation.runById(runId) ?? row, taken)
}

/** Gives the run its events, up to its end; answers the number of the one that is to come next. */
function take(room: Room, run: Run, events: RunEvent[], known: Callback | null): number {
  const end = events.findIndex(({ type }) => type === 'done' || type === 'error')
  const said = end < 0 ? events : events.slice(0, end)
  const next = (known?.next ?? 1) + events.length
  const size = said.reduce((sum, { data }) => sum + utf8(JSON.stringify(data)).byteLength, known?.bytes ?? 0)
  const { callbacks } = room.runs
  const heard = { next, heard_at: Date.now(), bytes: size, ended: end < 0 ? 0 : 1 }
  run.receive(said.flatMap(taken))
  callbacks.heard(run.id, { ...heard, first_at: run.firstTokenAt })
  const last = events[end]
  if (size > LIMITS.max_bytes) run.fail(tooLarge())
  else if (last?.type === 'done') {
    run.receive(endOf(last.data))
    run.complete()
  } else if (last?.type === 'error')
    run.fail(
      new UpstreamFailure('upstream_error', `The agent reported an error: ${last.data.message}`, false),
    )
  return next
}

function taken(event: RunEvent): TakenEvent[] {
  switch (event.type) {
    case 'message':
      return [{ kind: 'delta', text: event.data.content }]
    case 'status':
      return [{ kind: 'status', description: event.data.description, level: event.data.level }]
    case 'tool':
      return [{ kind: 'tool', ...event.data }]
    case 'done':
    case 'error':
      return []
  }
}

function endOf({ finish, usage }: Extract<RunEvent, { type: 'done' }>['data']): TakenEvent[] {
  const used = usage && {
    kind: 'usage' as const,
    prompt_tokens: usage.prompt_tokens ?? null,
    completion_tokens: usage.completion_tokens ?? null,
  }
  return [{ kind: 'finish', reason: finish }, ...(used ? [used] : [])]
}

const progressOf = (row: RunRow, next: number): RunProgress => ({
  run_id: row.id,
  status: row.status,
  next_sequence: next,
})

/** The refusal of what comes after the end; it says how the run ended, so that an agent that was stopped knows it. */
function over(room: Room, row: RunRow) {
  const status = room.conversation.message(row.answer_id, room.log)?.status ?? null
  const why = status === 'stopped' ? 'was stopped' : 'has ended'
  return problem('run_ended', `The run ${why}; nothing more is taken`, {
    details: { run_id: row.id, status, finish: row.finish, reason: row.error?.code ?? null },
  })
}

const tooLarge = () =>
  new UpstreamFailure(
    'upstream_too_large',
    `The agent’s answer is over ${LIMITS.max_bytes / 1024 / 1024} MiB`,
    false,
  )
