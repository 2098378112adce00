import type { Context } from '../../../../data/context'
import { bareTenant, systemContext } from '../../../../data/system'
import { utf8 } from '../../../../lib/encoding'
import { describeError, log } from '../../../../lib/log'
import { searchBases } from '../../../knowledge/search'
import type { Source } from '../../messages/schema'
import { cut } from '../../room/log/protocol'
import type { AnsweringAgent, Passage, Upstream, UpstreamRequest } from './upstream'

/** Pieces of documents that an agent is told: of 1,200 characters each at most. */
const MOST_PASSAGES = 5
/** One that fits by less than this part of the best one's score has but common words with the question. */
const FITS = 1 / 3
/** Characters of a question that are looked at. */
const MOST_ASKED = 2_000
/** A question of so few words goes on with the one before: “And for shoes?” */
const FEW_WORDS = 4
const PATIENCE_MS = 5_000
/** Bytes of all sources in JSON: the metadata of a message, which they are part of, is 2 KiB at most where a chat is taken in. */
const MOST_SOURCES = 1_500

/** Asks an agent with what its knowledge bases have on the question. Of one without a base D1 is not asked. */
export function informed(upstream: Upstream): Upstream {
  return (agent, request, settings, env) =>
    agent.knowledge_base_ids.length === 0
      ? upstream(agent, request, settings, env)
      : knowing(upstream, agent, request, settings, env)
}

async function* knowing(...[upstream, agent, request, settings, env]: [Upstream, ...Parameters<Upstream>]) {
  yield { kind: 'status', description: 'Searching the knowledge bases…', level: 'info' } as const
  const ctx = systemContext(env, bareTenant(request.tenant_id), 'agent-knowledge', () => {})
  const knowledge = await found(ctx, agent, request)
  request.signal.throwIfAborted()
  if (knowledge === null)
    yield {
      kind: 'status',
      description: 'They can’t be searched now: the answer is without them',
      level: 'warning',
    } as const
  else if (knowledge.length > 0) yield { kind: 'sources', sources: sourcesOf(knowledge) } as const
  yield* upstream(agent, { ...request, knowledge: knowledge ?? [] }, settings, env)
}

/** Null where it can't be found out in time: an answer without it is better than none. */
async function found(
  ctx: Context,
  { id, knowledge_base_ids }: AnsweringAgent,
  request: UpstreamRequest,
): Promise<Passage[] | null> {
  const { promise: late, resolve } = Promise.withResolvers<'late'>()
  const timer = setTimeout(resolve, PATIENCE_MS, 'late')
  try {
    const asked = { query: questionOf(request), limit: MOST_PASSAGES }
    const all = await Promise.race([searchBases(ctx, knowledge_base_ids, asked), late])
    if (all === 'late') throw new Error(`not found within ${PATIENCE_MS} ms`)
    const best = all[0]?.score ?? 0
    return all
      .filter(({ score }) => score >= best * FITS)
      .map(({ document_id, knowledge_base_id, filename, heading, position, score, text }) => {
        return { document_id, knowledge_base_id, filename, heading, chunk: position, score, text }
      })
  } catch (error) {
    log.warn('knowledge_not_searched', {
      tenant_id: ctx.tenant.id,
      agent_id: id,
      cause: describeError(error),
    })
    return null
  } finally {
    clearTimeout(timer)
  }
}

/** What is looked for: the latest question, with the one before it where it says little by itself. */
function questionOf({ messages }: UpstreamRequest): string {
  const asked = messages
    .filter(({ role }) => role === 'user')
    .map(({ content }) => content.slice(0, MOST_ASKED))
  const [last = '', before = ''] = asked.reverse()
  return last.trim().split(/\s+/).length < FEW_WORDS ? `${last} ${before}` : last
}

/** Without their texts; names and headings are cut where all together would be too long. */
function sourcesOf(knowledge: readonly Passage[]): Source[] {
  return knowledge.map(({ text: _, ...source }) => {
    const { filename, heading } = source
    const room = MOST_SOURCES / knowledge.length - jsonSize({ ...source, filename: '', heading: '' })
    const [name] = cut(filename, heading === null ? room : room / 2)
    return { ...source, filename: name, heading: heading && cut(heading, room - utf8(name).byteLength)[0] }
  })
}

const jsonSize = (value: unknown): number => utf8(JSON.stringify(value)).byteLength
