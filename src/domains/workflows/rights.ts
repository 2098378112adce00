import type { Context } from '../../data/context'
import { type FieldErrors, problem } from '../../lib/problem'
import { refusalOfUrl } from '../../lib/safe-url'
import { getAnsweringAgent } from '../chat/agents/service'
import { secretsNamed } from '../secrets/service'
import { mayGoTo } from '../secrets/template'
import type { Scope } from '../tenancy/scopes'
import type { AgentStep, HttpStep, StepDefinition } from './definition'
import { secretsIn } from './template'

// A run is made by nobody in particular, so who saves its steps must be allowed what they do.

/** Refuses steps that the caller could not make themselves (403), or that can't be made as they are (422). */
export async function checkSteps(ctx: Context, steps: readonly StepDefinition[]): Promise<void> {
  const needed = new Set<Scope>()
  for (const step of steps) {
    if (step.type === 'webhook') needed.add('events:write')
    if (step.type === 'agent') needed.add('chats:write')
    if (secretsIn([headersOf(step), bodyOf(step)]).length > 0) needed.add('secrets:use')
  }
  if (needed.has('secrets:use') && ctx.impersonator !== null)
    throw problem('forbidden_while_acting', 'To use a secret is not for who acts in a tenant of others')
  for (const missing of needed) if (!ctx.principal.scopes.has(missing)) throw lacking(missing)
  const refused = await Promise.all(
    steps.map(async (step, i) => {
      const fields =
        step.type === 'http'
          ? await refusedHttp(ctx, step)
          : step.type === 'agent'
            ? await refusedAgent(ctx, step)
            : {}
      return Object.entries(fields).map(([field, message]) => [`steps.${i}.${field}`, message])
    }),
  )
  const fields: FieldErrors = Object.fromEntries(refused.flat())
  if (Object.keys(fields).length > 0) throw problem.invalid(fields)
}

const headersOf = (step: StepDefinition) => (step.type === 'http' ? step.headers : {})
const bodyOf = (step: StepDefinition) => (step.type === 'http' ? step.body : null)

const lacking = (missing: Scope) =>
  problem('insufficient_scope', `Steps such as these need the scope ${missing}`, {
    details: { required: [missing], missing },
  })

/** Each use of a value reads as a letter: what stands around it must do for any. */
const anything = (text: string) => text.replace(/\{\{.*?\}\}/g, 'x')

async function refusedHttp(ctx: Context, step: HttpStep): Promise<FieldErrors> {
  // Where a run says the host, the run is held against the rules.
  const host = /^\w+:\/\/[^/?#]*/.exec(step.url)?.[0] ?? ''
  const known = !host.includes('{{') && !step.url.startsWith('{{')
  const refusal = known ? await refusalOfUrl(anything(step.url), ctx.settings) : null
  if (refusal !== null) return { url: refusal }
  const fields: FieldErrors = {}
  for (const field of ['headers', 'body'] as const) {
    const names = secretsIn(step[field])
    const found = await secretsNamed(ctx, names)
    for (const name of names) {
      const secret = found.get(name)
      if (!secret)
        fields[field] =
          `uses {{secrets.${name}}}, which is not there: set it first with PUT /api/v1/secrets/${name}`
      else if (known && !mayGoTo(secret.hosts, new URL(anything(step.url)).hostname))
        fields[field] =
          `uses {{secrets.${name}}}, which may not go to ${new URL(anything(step.url)).hostname}`
    }
  }
  return fields
}

async function refusedAgent(ctx: Context, { agent_id }: AgentStep): Promise<FieldErrors> {
  const agent = await getAnsweringAgent(ctx, agent_id)
  if (agent?.kind === 'ultravox') return { agent_id: 'must be of an agent that can be written to' }
  return agent ? {} : { agent_id: 'must be the id of an agent of the tenant' }
}
