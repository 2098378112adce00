import { hex, utf8 } from '../../../../lib/encoding'
import { sizeOf } from '../../../../lib/json-size'
import type { AgentFunction } from '../../../tools/for-agents'
import type { ToolResult } from '../../../tools/schema'
import { fieldsOf, stringOf } from './fields'
import type { ToolEvent, UpstreamEvent, UpstreamMessage, UpstreamRequest } from './upstream'

// What a model calls within one turn of an answer: carried out, told to readers, and back to the model.

/** Calls of one turn that are carried out, and how many at once: an invocation has six connections. */
const MOST_CALLS = 16
const AT_ONCE = 4
/** Of arguments as JSON, and of a name: no tool has a longer one. */
const MAX_ARGUMENTS = 64 * 1024
const MAX_NAME = 64
const TOO_LARGE = 'more than 64 KiB, or nested more than 32 deep'
/** Of arguments that are none, so much is told to the model again. */
const MOST_QUOTED = 200

export type Called = { event: ToolEvent; result: ToolResult }

/** The name of a tool as its definition is written for OpenAI, or without wrapping for Workers AI. */
export const nameOf = (definition: unknown): string | null =>
  stringOf(fieldsOf(fieldsOf(definition).function).name) ?? stringOf(fieldsOf(definition).name)

/** Definitions as OpenAI’s protocol has them. */
export const definitionsOf = (functions: readonly AgentFunction[]) =>
  functions.map(({ name, description, parameters }) => ({
    type: 'function',
    function: { name, ...(description === '' ? {} : { description }), parameters: toldAs(parameters) },
  }))

/** Servers of the protocol want to be told that there are no properties, and some of them know no `$schema`. */
function toldAs({ $schema: _, ...parameters }: Record<string, unknown>): Record<string, unknown> {
  return { ...parameters, properties: parameters.properties ?? {} }
}

/** Carries out the calls of one answer; each has an id of its own in it, and a key that a repeat of it would have too. */
export class Calls {
  private readonly ids = new Set<string>()
  private readonly made = new Map<string, number>()

  constructor(
    private readonly functions: readonly AgentFunction[],
    private readonly request: Pick<UpstreamRequest, 'run_id' | 'traceparent' | 'signal'>,
  ) {}

  /** Makes the calls, as many at once as may be, and tells of each as it begins and ends; answers with all, in their order. */
  async *carryOut(events: readonly ToolEvent[]): AsyncGenerator<UpstreamEvent, Called[]> {
    const own = new AbortController()
    const signal = AbortSignal.any([own.signal, this.request.signal])
    const named = events.map((event) => bounded({ ...event, id: this.fresh(event.id) }))
    const running = new Map<number, Promise<number>>()
    const results: ToolResult[] = []
    try {
      for (let next = 0; next < named.length || running.size > 0; ) {
        const event = named[next]
        if (event && running.size < AT_ONCE) {
          const at = next++
          yield { kind: 'status', description: `Calling ${event.name}…`, level: 'info' }
          yield event
          const work = this.make(event, at, signal).then((result) => {
            results[at] = result
            return at
          })
          // Nobody may be waiting for it when it ends.
          work.catch(() => {})
          running.set(at, work)
        } else {
          const at = await Promise.race(running.values())
          running.delete(at)
          yield outcomeOf(named[at] as ToolEvent, results[at] as ToolResult)
        }
      }
    } finally {
      own.abort()
    }
    return named.map((event, i) => ({ event, result: results[i] as ToolResult }))
  }

  /** Models number their calls anew in each turn, or give them no ids at all. */
  private fresh(id: string): string {
    let fresh = id
    for (let n = 2; this.ids.has(fresh); n++) fresh = `${id}_${n}`
    this.ids.add(fresh)
    return fresh
  }

  private async make(
    { name, arguments: args }: ToolEvent,
    at: number,
    signal: AbortSignal,
  ): Promise<ToolResult> {
    const known = this.functions.find((one) => one.name === name)
    if (!known) return failed(`there is no tool called ${name}; there are ${this.names()}`)
    if (at >= MOST_CALLS) return failed(`at most ${MOST_CALLS} tools are called at once; call it again`)
    if (typeof args === 'string')
      return failed(`its arguments must be a JSON object; they were ${args.slice(0, MOST_QUOTED)}`)
    const { traceparent } = this.request
    return known.call(args, { key: await this.keyOf(name, args), traceparent, signal })
  }

  private names = () => this.functions.map(({ name }) => name).join(', ')

  /** An answer that is asked for again makes the same calls under the same keys. */
  private async keyOf(name: string, args: unknown): Promise<string> {
    const call = JSON.stringify([this.request.run_id, name, args])
    const count = (this.made.get(call) ?? 0) + 1
    this.made.set(call, count)
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(`${call}${count}`)))
    return hex(digest.subarray(0, 16))
  }
}

/** A call as it can be told of and sent on, whatever the model wrote. */
const bounded = (event: ToolEvent): ToolEvent => ({
  ...event,
  name: event.name.slice(0, MAX_NAME),
  arguments: sizeOf(event.arguments) > MAX_ARGUMENTS ? TOO_LARGE : event.arguments,
})

const failed = (error: string): ToolResult => ({
  ...{ ok: false, status: null, output: null },
  ...{ error, duration_ms: 0 },
})

function outcomeOf({ id, name }: ToolEvent, { ok, output, error }: ToolResult): ToolEvent {
  return ok
    ? { kind: 'tool', id, name, status: 'result', result: output }
    : { kind: 'tool', id, name, status: 'error', result: error }
}

/** A turn of the model and what came of its calls, as the next one is told of them. */
export function toldOf(text: string, called: readonly Called[]): UpstreamMessage[] {
  const timestamp = new Date().toISOString()
  const tool_calls = called.map(({ event: { id, name, arguments: args } }) => ({
    ...{ id, type: 'function' },
    // What is no JSON would be refused by servers that read it again.
    function: { name, arguments: typeof args === 'string' ? '{}' : JSON.stringify(args ?? {}) },
  }))
  const turn = { role: 'assistant', content: text === '' ? null : text, tool_calls }
  return [
    { role: 'assistant', content: text, timestamp, sent: turn },
    ...called.map(({ event: { id, name }, result: { ok, output, error } }): UpstreamMessage => {
      const value = ok ? output : { error }
      const content = typeof value === 'string' ? value : JSON.stringify(value ?? null)
      return { role: 'tool', content, timestamp, sent: { role: 'tool', tool_call_id: id, name, content } }
    }),
  ]
}
