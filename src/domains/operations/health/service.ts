import type { RequestContext } from '../../../data/context'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { log } from '../../../lib/log'
import type { KvHealth, Readiness } from './schema'

/** A look takes no longer; a part that has not answered by then is down. */
const PATIENCE_MS = 2_000
/** Every probe of every load balancer asks; the parts are asked at most this often by an isolate. */
const KEPT_MS = 5_000

type Part = {
  /**
   * Requests go on without it: isolates limit by themselves while Meters are away, events are swept where the queue is, KV
   * holds copies, files can wait.
   */
  optional?: true
  look: (env: Bindings) => Promise<unknown>
}

const lookAtKv = (env: Bindings) => env.KV.get('health')

export const PARTS: Record<string, Part> = {
  database: { look: (env) => env.DB.prepare('SELECT 1').run() },
  chats: { look: (env) => env.CHATS.getByName('health').ping() },
  sweeper: { look: (env) => env.SWEEPER.getByName('health').ping() },
  meters: { optional: true, look: (env) => env.METERS.getByName('health').ping() },
  kv: { optional: true, look: lookAtKv },
  queue: { optional: true, look: (env) => env.EVENTS_QUEUE.metrics() },
  files: { optional: true, look: (env) => env.FILES.head('health') },
}

type Caller = Pick<RequestContext, 'env' | 'now' | 'requestId'>
type Look = { ok: boolean; ms: number }

const kept = new WeakMap<object, { at: number; value: Readiness }>()

/** Whether the service can take requests: each part is asked, at most every five seconds. */
export async function readiness(caller: Caller): Promise<Readiness> {
  const last = kept.get(caller.env)
  if (last && caller.now - last.at < KEPT_MS) return last.value
  const names = Object.keys(PARTS)
  const looks = await Promise.all(
    Object.entries(PARTS).map(([name, part]) => lookAt(caller, name, part.look)),
  )
  const failed = names.filter((_, i) => !looks[i]?.ok)
  const healthy = failed.every((name) => PARTS[name]?.optional)
  const state = (name: string, ok: boolean) =>
    ok ? 'healthy' : PARTS[name]?.optional ? 'degraded' : 'unhealthy'
  const value: Readiness = {
    status: healthy ? 'ready' : 'not_ready',
    healthy,
    services: Object.fromEntries(names.map((name, i) => [name, state(name, looks[i]?.ok ?? false)])),
    failed_services: failed,
    timings_ms: Object.fromEntries(names.map((name, i) => [name, looks[i]?.ms ?? 0])),
    timestamp: iso(caller.now),
  }
  kept.set(caller.env, { at: caller.now, value })
  return value
}

/** Whether KV answers now. */
export async function kvHealth(caller: Caller): Promise<KvHealth> {
  const look = await lookAt(caller, 'kv', lookAtKv)
  return { status: look.ok ? 'healthy' : 'unhealthy', timing_ms: look.ms, timestamp: iso(caller.now) }
}

async function lookAt(caller: Caller, name: string, look: Part['look']): Promise<Look> {
  const started = Date.now()
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE_MS} ms`)), PATIENCE_MS)
  try {
    // In a function of its own, so that a missing binding is a part that is down and not an exception here.
    await Promise.race([(async () => look(caller.env))(), late])
    return { ok: true, ms: Date.now() - started }
  } catch (error) {
    log.error('health_check_failed', { request_id: caller.requestId, service: name, cause: String(error) })
    return { ok: false, ms: Date.now() - started }
  } finally {
    clearTimeout(timer)
  }
}
