import type { Step } from '../../jobs/kinds'

/** What came of a step that was made. */
export type Performed = {
  /** What later steps use. */
  output: unknown
  /** Where the run goes on, where the step decides that; null ends it. */
  next?: string | null
  wait_ms?: number
  change?: NonNullable<Step<unknown>['change']>
}

/** Which run a step belongs to, and what makes this visit of it one, however often it is repeated. */
export type Visit = {
  run_id: string
  key: string
  /** How many steps the run makes up to this one. */
  number: number
}

/** A step failed, as its tenant is told: a sentence about the step, without any secret. */
export class StepFailure extends Error {
  constructor(
    message: string,
    /** Whether a moment may mend it. */
    readonly retryable = false,
    /** Seconds that an outside service asked to be left alone. */
    readonly retryAfter: string | null = null,
  ) {
    super(message)
  }
}
