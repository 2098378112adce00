import { bareTenant, systemContext } from '../../../../data/system'
import { EchoFilter, echoesOf, SHORTEST_ECHO, valueWithoutEchoes, withoutEchoes } from '../../../../lib/echo'
import { openedFor } from '../../../secrets/sent'
import { fill, namesIn } from '../../../secrets/template'
import {
  type AnsweringAgent,
  type ToolEvent,
  type Upstream,
  type UpstreamEvent,
  UpstreamFailure,
  type UpstreamRequest,
} from './upstream'

/**
 * Asks an agent with the secrets that its credentials name in their places, as these are now; and nothing that it says
 * shows what it was sent: many a workflow answers with the headers that it was asked with.
 */
export function keyed(upstream: Upstream): Upstream {
  return async function* (agent, request, settings, env) {
    const { api_key, webhook_token } = agent
    const given = [api_key, webhook_token].filter((one) => one !== null)
    const names = [...new Set(given.flatMap(namesIn))]
    const opened = names.length === 0 ? {} : await secretsOf(names, agent, request, env)
    const put = (text: string | null) => text && fill(text, (name) => opened[name] ?? '')
    const asked = { ...agent, api_key: put(api_key), webhook_token: put(webhook_token) }
    const clear = [asked.api_key, asked.webhook_token].filter((one) => one !== null)
    const secrets = echoesOf(Object.values(opened))
    // Of a credential that is no secret, one that is short is a word that is said by chance.
    const long = echoesOf(clear).filter(({ length }) => length >= SHORTEST_ECHO)
    const echoes = [...new Set([...secrets, ...long])].sort((one, other) => other.length - one.length)
    const events = upstream({ ...asked, opened: Object.values(opened) }, request, settings, env)
    yield* echoes.length === 0 ? events : masked(events, echoes)
  }
}

async function secretsOf(
  names: readonly string[],
  { kind, base_url, webhook_url }: AnsweringAgent,
  { tenant_id }: UpstreamRequest,
  env: Parameters<Upstream>[3],
): Promise<Record<string, string>> {
  const url = (kind === 'openai' ? base_url : webhook_url) ?? ''
  if (!URL.canParse(url)) return {}
  const ctx = systemContext(env, bareTenant(tenant_id), 'agent-secrets', () => {})
  const { secrets, refusal } = await openedFor(ctx, names, new URL(url).hostname)
  if (secrets === null)
    throw new UpstreamFailure('upstream_error', `The agent’s credential ${refusal}`, false)
  return secrets
}

async function* masked(
  events: AsyncIterable<UpstreamEvent>,
  echoes: readonly string[],
): AsyncGenerator<UpstreamEvent> {
  const filter = new EchoFilter(echoes)
  const delta = (text: string): UpstreamEvent[] => (text === '' ? [] : [{ kind: 'delta', text }])
  try {
    for await (const event of events) {
      if (event.kind === 'delta') yield* delta(filter.push(event.text))
      else if (event.kind === 'status')
        yield { ...event, description: withoutEchoes(event.description, echoes) }
      else {
        if (event.kind !== 'usage' && event.kind !== 'sources') yield* delta(filter.end())
        yield event.kind === 'tool' ? toolWithout(event, echoes) : event
      }
    }
  } catch (error) {
    // What it had said is kept.
    yield* delta(filter.end())
    throw error
  }
  yield* delta(filter.end())
}

const toolWithout = (event: ToolEvent, echoes: readonly string[]): ToolEvent => ({
  ...event,
  ...('arguments' in event ? { arguments: valueWithoutEchoes(event.arguments, echoes) } : {}),
  ...('result' in event ? { result: valueWithoutEchoes(event.result, echoes) } : {}),
})
