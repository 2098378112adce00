import type { Context } from '../../../data/context'
import { echoesOf, withoutEchoes } from '../../../lib/echo'
import { answeredValue, answerTo, type Outgoing, Unanswered } from '../../../lib/outgoing'
import { refusalOfTarget } from '../../../lib/safe-url'
import { openedFor } from '../../secrets/sent'
import { refusalOfValue } from '../../tools/headers'
import { keptHeaders, retryAfterOf } from '../../webhooks/deliveries/answer'
import type { HttpStep } from '../definition'
import { Filler, inUrl, type Scope, secretsIn } from '../template'
import { type Performed, StepFailure, type Visit } from './performed'

/** One request, under the rules for outgoing addresses. Its key is the same however often the step is tried. */
export async function performHttp(
  ctx: Context,
  step: HttpStep,
  scope: Scope,
  { key }: Visit,
): Promise<Performed> {
  const request = await filled(ctx, step, scope)
  request.headers.set('Idempotency-Key', key)
  request.headers.set('traceparent', ctx.traceparent)
  try {
    const answer = await answerTo(request, ctx.settings)
    const { 'set-cookie': _, ...kept } = keptHeaders(answer.headers)
    const shown = Object.entries(kept).map(([name, value]) => [name, withoutEchoes(value, request.echoes)])
    return {
      output: {
        status: answer.status,
        headers: Object.fromEntries(shown),
        body: answeredValue(answer, request.echoes),
      },
    }
  } catch (error) {
    if (!(error instanceof Unanswered)) throw error
    const { message, retryable, answer } = error
    throw new StepFailure(message, retryable, answer && retryAfterOf(answer.headers))
  }
}

async function filled(ctx: Context, step: HttpStep, scope: Scope): Promise<Outgoing> {
  const filler = new Filler(scope)
  // One that is nothing but a value is that value; within another, a value makes no path or host of its own.
  const whole = /^\s*\{\{[^{}]*\}\}\s*$/.test(step.url)
  const url = whole ? filler.text(step.url).trim() : filler.text(step.url, inUrl)
  const refusal = refusalOfTarget(url, ctx.settings)
  if (refusal !== null) throw new StepFailure(`its URL ${refusal}`)
  const { secrets, refusal: missing } = await openedFor(
    ctx,
    secretsIn([step.headers, step.body]),
    new URL(url).hostname,
  )
  if (secrets === null) throw new StepFailure(`it ${missing}`)
  const withSecrets = new Filler({ ...scope, secrets })
  const headers = new Headers({ Accept: 'application/json, */*;q=0.8', 'User-Agent': 'Causeway-Workflows/1' })
  for (const [name, template] of Object.entries(step.headers)) {
    const value = withSecrets.text(template)
    const wrong = refusalOfValue(value)
    if (wrong !== null) throw new StepFailure(`its header ${name} ${wrong}`)
    headers.set(name, value)
  }
  const body = step.body === undefined ? undefined : withSecrets.value(step.body)
  if (body !== undefined && !headers.has('Content-Type'))
    headers.set('Content-Type', typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json')
  const text = body === undefined || typeof body === 'string' ? (body ?? null) : JSON.stringify(body)
  return {
    ...{ method: step.method, url, headers, body: text },
    ...{ timeout_ms: step.timeout_seconds * 1_000, echoes: echoesOf(Object.values(secrets)) },
  }
}
