import type { Change, Check } from '../../data/commit'
import type { Context } from '../../data/context'
import type { Scope } from '../tenancy/scopes'

/** A job as its kind sees it when a step is due. */
export type Due<Input, State> = {
  id: string
  input: Input
  state: State
  /** How often in a row this very step has failed. */
  failures: number
}

/** What one step made of a job. */
export type Step<State> = {
  /** The checkpoint, from which the next step goes on. */
  state: State
  /** 0 to 100. */
  progress: number
  /** What has come of the job so far. */
  result: Record<string, unknown>
  /** Whether this was the last step. */
  done: boolean
  /** The next step is due so much later; at once if left out. */
  wait_ms?: number
  /** What the step changes; it is written together with the checkpoint, or not at all. */
  change?: Pick<Change<unknown>, 'statements' | 'events' | 'audit'>
  /** Done once that stands; a crash may leave it out, so it is no more than a nudge. */
  after?: () => Promise<unknown>
}

/**
 * A kind of job: one file that declares itself here, and starts its jobs by `startJob`, or `jobStarted` (service.ts). A step should end
 * within a second or two. One that calls something outside gives it the job's id and step, since it may be repeated.
 */
export type Kind<Input extends object, State> = {
  name: string
  /** What a caller must be allowed to cancel or retry such a job, as for starting it. */
  scope: Scope
  /** What must hold in the batch that has such a job go on, once it has ended; throws where it can't be. */
  goesOn?: (ctx: Context, input: Input) => Promise<Check[]>
  /** What is to stand with it when somebody cancels such a job. */
  cancelled?: (ctx: Context, input: Input) => Promise<Pick<Change<unknown>, 'statements' | 'events'>>
  /**
   * A thrown `Problem` that is not `retryable` fails the job; anything else is tried again, and not before the seconds of
   * its `Retry-After` have passed.
   */
  step: (ctx: Context, job: Due<Input, State>) => Promise<Step<State>>
}

type AnyKind = Pick<Kind<object, unknown>, 'name' | 'scope'> & {
  goesOn: (ctx: Context, input: unknown) => Promise<Check[]>
  cancelled: (
    ctx: Context,
    input: unknown,
  ) => Promise<Pick<Change<unknown>, 'statements' | 'events'> | undefined>
  step: (ctx: Context, job: Due<unknown, unknown>) => Promise<Step<unknown>>
}

const kinds = new Map<string, AnyKind>()

/** Declares a kind of job. */
export function jobKind<Input extends object, State>(kind: Kind<Input, State>): Kind<Input, State> {
  // What a job of this kind carries is what `jobStarted` took for this kind.
  kinds.set(kind.name, {
    ...kind,
    goesOn: async (ctx, input) => (await kind.goesOn?.(ctx, input as Input)) ?? [],
    cancelled: async (ctx, input) => kind.cancelled?.(ctx, input as Input),
    step: (ctx, job) => kind.step(ctx, job as Due<Input, State>),
  })
  return kind
}

/** The kind of that name; undefined where this version of the service has none. */
export const kindOf = (name: string): AnyKind | undefined => kinds.get(name)
