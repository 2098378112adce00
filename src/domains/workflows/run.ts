import { iso } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { type Due, jobKind, type Step } from '../jobs/kinds'
import type { StepDefinition } from './definition'
import { roomToGoOn } from './room'
import type { RunStep } from './schema'
import { perform } from './steps/perform'
import { type Performed, StepFailure } from './steps/performed'
import type { WorkflowRow } from './table'
import { type Scope, Unfilled } from './template'

// A run is a job: a step of the one is a step of the other, written down together with what came of it.

/** Steps that one run makes at most: a loop must end. */
const MOST_STEPS = 1_000
/** Of what one step comes to, and of what all do, as JSON. */
const MOST_OUTPUT = 64 * 1024
const MOST_OUTPUTS = 512 * 1024
/** What is larger is read at the run itself. */
const MOST_RESULT = 8 * 1024

/** What had a run started. */
export type RunTrigger =
  | { type: 'manual' }
  | { type: 'event'; event: { id: string; type: string; timestamp: string; subject: string | null } }
  | { type: 'schedule'; scheduled_for: string }

export type RunInput = {
  workflow_id: string
  workflow_name: string
  workflow_version: number
  trigger: RunTrigger
  input: unknown
}

export type RunState = {
  /** As they were when it began. */
  steps: StepDefinition[]
  /** The step that is due. */
  at: string | null
  made: number
  progress: number
  /** What came of the steps that were made, by their last time. */
  done: Record<string, Omit<RunStep, 'name'>>
  /** How many runs of workflows stand behind this one, each started by an event of the one before. */
  depth: number
}

/** Runs that may stand behind one another: workflows that start each other would never end. */
export const MOST_DEPTH = 5

type DueRun = Due<RunInput, RunState>

/** The input and the state of a run that has not begun. */
export function newRun(row: WorkflowRow, trigger: RunTrigger, input: unknown, depth = 0) {
  const state: RunState = {
    steps: row.steps,
    at: row.steps[0]?.name ?? null,
    made: 0,
    progress: 0,
    done: {},
    depth,
  }
  return {
    input: { workflow_id: row.id, workflow_name: row.name, workflow_version: row.version, trigger, input },
    first: { state, progress: 0, result: { steps_made: 0, last_step: null, output: null }, done: false },
  }
}

export const workflowRun = jobKind<RunInput, RunState>({
  name: 'workflows.run',
  scope: 'workflows:use',
  goesOn: (ctx, { workflow_id }) => roomToGoOn(ctx, workflow_id),
  step: async (ctx, job) => {
    const { state } = job
    const step = state.steps.find(({ name }) => name === state.at)
    // After a wait that was its last step.
    if (!step) return ended({ ...state, at: null })
    if (state.made >= MOST_STEPS)
      throw failing(step, `the run has made ${MOST_STEPS} steps, and a loop must end before`)
    if (state.depth > MOST_DEPTH)
      throw failing(
        step,
        `${MOST_DEPTH} runs of workflows stand behind this one, each started by an event of another`,
      )
    const begun = Date.now()
    const visits = (state.done[step.name]?.visits ?? 0) + 1
    const made = { type: step.type, visits, attempts: job.failures + 1, started_at: iso(begun) }
    try {
      const performed = await perform(ctx, step, scopeOf(job), {
        run_id: job.id,
        key: `${job.id}:${step.name}:${visits}`,
        number: state.made + 1,
      })
      refuseTooLarge(state, performed.output)
      const { output } = performed
      return next(job, step, { ...made, status: 'completed', output, error: null }, performed)
    } catch (error) {
      const failure = failureOf(error)
      const attempts = 'attempts' in step ? step.attempts : 1
      if (failure.retryable && job.failures + 1 < attempts) throw trying(step, failure)
      if (step.on_failure === undefined) throw failing(step, failure.message)
      const failed = { ...made, status: 'failed' as const, output: null, error: failure.message }
      return next(job, step, failed, { output: null, next: step.on_failure })
    }
  },
})

/** What the texts and conditions of a step can say. */
function scopeOf({ id, input, state }: DueRun): Scope {
  const steps = Object.entries(state.done).map(([name, { status, output, error }]) => [
    name,
    { status, output, error },
  ])
  return {
    ...{ input: input.input, trigger: input.trigger, steps: Object.fromEntries(steps) },
    run: { id, workflow_id: input.workflow_id, workflow_name: input.workflow_name },
  }
}

type Made = RunState['done'][string]

/** The run after a step: where it goes on, and what is known of it. */
function next(
  { state }: DueRun,
  step: StepDefinition,
  made: Omit<Made, 'finished_at'>,
  performed: Performed,
) {
  const { [step.name]: _, ...others } = state.done
  const place = state.steps.indexOf(step)
  const following = state.steps[place + 1]?.name ?? null
  const at = performed.next !== undefined ? performed.next : step.next !== undefined ? step.next : following
  const towards = state.steps.findIndex(({ name }) => name === at)
  const after: RunState = {
    ...state,
    at,
    made: state.made + 1,
    progress: Math.max(state.progress, towards < 0 ? 99 : Math.floor((100 * towards) / state.steps.length)),
    done: { ...others, [step.name]: { ...made, finished_at: iso(Date.now()) } },
  }
  const waits = performed.wait_ms ?? 0
  const change = performed.change ? { change: performed.change } : {}
  if (at === null && waits === 0) return { ...ended(after), ...change }
  const result = resultOf(after, step.name)
  return { state: after, progress: after.progress, result, done: false, wait_ms: waits, ...change }
}

function ended(state: RunState): Step<RunState> {
  const last = Object.keys(state.done).at(-1) ?? null
  return { state, progress: 100, result: resultOf(state, last), done: true }
}

function resultOf(state: RunState, last: string | null) {
  const output = last === null ? null : (state.done[last]?.output ?? null)
  const isSmall = JSON.stringify(output).length <= MOST_RESULT
  return { steps_made: state.made, last_step: last, output: isSmall ? output : null }
}

function refuseTooLarge(state: RunState, output: unknown): void {
  const size = JSON.stringify(output).length
  if (size > MOST_OUTPUT) throw new StepFailure(`what it came to is over ${MOST_OUTPUT / 1024} KiB`)
  const others = JSON.stringify(state.done).length
  if (size + others > MOST_OUTPUTS)
    throw new StepFailure(`what the run’s steps came to is over ${MOST_OUTPUTS / 1024} KiB in all`)
}

/** A failure that is the step's own; what is the service's is thrown on, and tried again as any job's. */
function failureOf(error: unknown): StepFailure {
  if (error instanceof StepFailure) return error
  if (error instanceof Unfilled) return new StepFailure(`it ${error.message}`)
  throw error
}

const said = ({ name }: StepDefinition, message: string) => `The step ${name} failed: ${message}`

const failing = (step: StepDefinition, message: string) =>
  problem('workflow_step_failed', said(step, message))

const trying = (step: StepDefinition, { message, retryAfter }: StepFailure) =>
  problem('upstream_failed', said(step, message), {
    headers: retryAfter === null ? {} : { 'Retry-After': retryAfter },
  })
