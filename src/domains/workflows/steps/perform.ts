import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { objection } from '../../webhooks/endpoints/filter'
import type { BranchStep, StepDefinition, WaitStep } from '../definition'
import { Filler, type Scope } from '../template'
import { performAgent } from './agent'
import { performHttp } from './http'
import { type Performed, StepFailure, type Visit } from './performed'
import { performWebhook } from './webhook'

const DAY_MS = 24 * 3600_000
const LONGEST_WAIT_DAYS = 366

/** Makes one step. Throws StepFailure or Unfilled where it fails by what it says or by what it asks. */
export async function perform(
  ctx: Context,
  step: StepDefinition,
  scope: Scope,
  visit: Visit,
): Promise<Performed> {
  switch (step.type) {
    case 'http':
      return performHttp(ctx, step, scope, visit)
    case 'webhook':
      return performWebhook(ctx, step, scope, visit)
    case 'agent':
      return performAgent(ctx, step, scope, visit)
    case 'wait':
      return waited(step, scope)
    case 'branch':
      return branched(step, scope)
  }
}

function waited({ seconds, until }: WaitStep, scope: Scope): Performed {
  const now = Date.now()
  const text = until === undefined ? iso(now + (seconds ?? 0) * 1_000) : new Filler(scope).text(until)
  const at = Date.parse(text)
  // As dates alone are read too, in UTC.
  if (!/^\d{4}-\d{2}-\d{2}/.test(text) || Number.isNaN(at))
    throw new StepFailure(`it waits until “${text.slice(0, 64)}”, which is no time in ISO 8601`)
  if (at - now > LONGEST_WAIT_DAYS * DAY_MS)
    throw new StepFailure(`it waits until ${iso(at)}, which is more than ${LONGEST_WAIT_DAYS} days away`)
  return { output: { until: iso(at) }, wait_ms: Math.max(0, at - now) }
}

function branched({ branches, next }: BranchStep, scope: Scope): Performed {
  const taken = branches.findIndex(({ when }) => objection(when, scope) === null)
  const found = branches[taken]
  if (found) return { output: { branch: taken }, next: found.next }
  return { output: { branch: null }, ...(next === undefined ? {} : { next }) }
}
