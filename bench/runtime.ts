import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { convertV4MiniflareOptions, Miniflare, type V4WorkerOptions } from 'miniflare'
import { unstable_getMiniflareWorkerOptions } from 'wrangler'
import { ROOT } from './bundle.ts'

/** Where the service believes itself to be; requests name it in full, so that it serves https as in production. */
export const ORIGIN = 'https://causeway.test'

/** As in production, but that agents and receivers may be on this machine. */
const SETTINGS = {
  ENVIRONMENT: 'production',
  PUBLIC_URL: ORIGIN,
  MASTER_KEY: 'a key that only the benchmark uses 0123456789',
  LOG_LEVEL: 'info',
  PRIVATE_TARGET_HOSTS: '127.0.0.1',
  CALL_PROVIDER: 'simulated',
  CALL_SIMULATED_SPEED: '100',
  CALL_CREDITS_PER_MINUTE: '0',
  TTS_PROVIDER: 'simulated',
}

type Named = { name: string; file: string }

/** Options of one worker; wrangler and Miniflare agree on them without a type in common. */
type Options = Record<string, unknown>

/** What wrangler makes of wrangler.toml for Miniflare, so that the bindings are those of the service as it is. */
function configured(): Options {
  // It would tell of the .dev.vars that it has read, and whose values are not used here.
  process.env.WRANGLER_LOG = 'error'
  const { workerOptions } = unstable_getMiniflareWorkerOptions(path.join(ROOT, 'wrangler.toml'), 'production')
  return workerOptions as Options
}

/** A worker of one file that answers on a socket of its own, with nothing before it. */
function worker({ name, file }: Named, more: Options): V4WorkerOptions {
  const { compatibilityDate, compatibilityFlags } = configured()
  const options: Options = {
    name,
    compatibilityDate,
    compatibilityFlags,
    modules: [{ type: 'ESModule', path: file }],
    modulesRoot: path.dirname(file),
    // As a proxy is spoken to: the whole URL stands in the request.
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0, proxy: true }],
    ...more,
  }
  return options as unknown as V4WorkerOptions
}

/** What of wrangler.toml the service is bound to. */
function bindingsOf({ d1Databases, kvNamespaces, r2Buckets, queueProducers }: Options): Options {
  // No file server stands before the Worker: it is asked first anyway, and the floor has none.
  const serviceBindings = { ASSETS: () => new Response(null, { status: 404 }) }
  return { d1Databases, kvNamespaces, r2Buckets, queueProducers, serviceBindings }
}

const shared = (state: string, workers: V4WorkerOptions[]) =>
  new Miniflare(convertV4MiniflareOptions({ resourcePersistencePath: state, workers, cf: false }))

/** With these every route is there: browsers are pushed to, and payments simulated, which no production does. */
export const EVERYTHING = {
  VAPID_PRIVATE_KEY: 'q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94',
  ...{ ENVIRONMENT: 'staging', PAYMENTS: 'simulated' },
  PLAN_PRICES: '{"pro":{"amount":4900},"enterprise":{"amount":49900}}',
}

/** The service with the recorder around it and everything that follows a request at work. */
export async function startRecorder(state: string, file: string, settings = {}): Promise<Miniflare> {
  const options = configured()
  const { durableObjects, queueConsumers } = options
  const bindings = { ...SETTINGS, ...settings, LOG_LEVEL: 'warn' }
  const miniflare = shared(state, [
    worker({ name: 'recorder', file }, { ...bindingsOf(options), durableObjects, queueConsumers, bindings }),
  ])
  await migrate(await miniflare.getD1Database('DB'))
  return miniflare
}

/**
 * The service as it is deployed with everything that follows a request at work, on a database that is up to date; and
 * the floor beside it, where there is one.
 */
export async function startService(state: string, file: string, floor?: string): Promise<Miniflare> {
  const CHATS = { className: 'ChatRoom', scriptName: 'service', useSQLite: true }
  const options = configured()
  const { durableObjects, queueConsumers } = options
  const miniflare = shared(state, [
    worker(
      { name: 'service', file },
      { ...bindingsOf(options), durableObjects, queueConsumers, bindings: SETTINGS },
    ),
    ...(floor === undefined ? [] : [worker({ name: 'floor', file: floor }, { durableObjects: { CHATS } })]),
  ])
  await migrate(await miniflare.getD1Database('DB'))
  return miniflare
}

/** A worker that makes one bare hop for each request (`workers/hops.ts`). */
export function startHops(state: string, file: string, receiver: string): Miniflare {
  return shared(state, [
    worker(
      { name: 'hops', file },
      {
        d1Databases: { DB: 'hops' },
        durableObjects: { HOPS: { className: 'Hop', useSQLite: true } },
        queueProducers: { QUEUE: { queueName: 'hops' } },
        queueConsumers: { hops: { maxBatchSize: 100, maxBatchTimeout: 0 } },
        bindings: { RECEIVER: receiver },
      },
    ),
  ])
}

/**
 * The service as it is deployed and, in the same workerd on the same database, the service that counts nothing and the
 * floor. Nothing is done of what follows
 * a request, neither by the queue nor by the sweeper: it would be done while the next one is measured.
 */
export function startMeasured(
  state: string,
  files: { service: string; uncounted: string; floor: string; quiet: string; limits: string },
  recorded: Record<string, unknown>,
): Miniflare {
  const options = configured()
  const { d1Databases } = options
  const sweeper = { className: 'Sweeper', useSQLite: true }
  const durableObjects = {
    ...(options.durableObjects as Options),
    SWEEPER: { ...sweeper, scriptName: 'quiet' },
  }
  const bound = { ...bindingsOf(options), durableObjects, bindings: SETTINGS }
  return shared(state, [
    worker({ name: 'service', file: files.service }, bound),
    worker({ name: 'uncounted', file: files.uncounted }, bound),
    worker({ name: 'floor', file: files.floor }, { d1Databases, bindings: recorded }),
    worker({ name: 'quiet', file: files.quiet }, { durableObjects: { SWEEPER: sweeper } }),
    worker({ name: 'limits', file: files.limits }, {}),
  ])
}

/** The port on which `worker` answers with nothing before it. */
export async function portOf(miniflare: Miniflare, worker: string): Promise<number> {
  return Number((await miniflare.unsafeGetDirectURL(worker)).port)
}

async function migrate(database: D1Database): Promise<void> {
  const directory = path.join(ROOT, 'migrations')
  for (const file of readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .sort())
    for (const statement of readFileSync(path.join(directory, file), 'utf8').split(
      '--> statement-breakpoint',
    ))
      await database.prepare(statement).run()
}
