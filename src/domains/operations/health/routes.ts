import { type Context, Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, open, returns } from '../../../http/route'
import { Healthy, KvHealth, Readiness } from './schema'
import { kvHealth, readiness } from './service'

const tag = 'Operations'
const bare = { bare: true }
const down = (description: string, schema: typeof Readiness | typeof KvHealth) => [
  { status: 503, schema, bare: true, description },
]

/** Answers as long as the Worker runs, even misconfigured; mounted before whatever needs the settings. */
export const liveness = new Hono<AppEnv>().get(
  '/health/live',
  doc('Whether the Worker runs', { tag }),
  open(),
  returns(200, Healthy, bare),
  (c) => c.var.reply({ status: 'healthy' }),
)

/** What load balancers and people ask; all public, none counted. */
export const health = new Hono<AppEnv>().get(
  '/health',
  doc('Whether the service answers', { tag }),
  open(),
  returns(200, Healthy, bare),
  (c) => c.var.reply({ status: 'healthy' }),
)

for (const path of ['/health/ready', '/ready'])
  health.get(
    path,
    doc('Whether the service can take requests', {
      tag,
      description:
        'Each part is asked at most every five seconds. An optional part that is down is `degraded`.',
      also: down('A part that requests need is down.', Readiness),
    }),
    open(),
    returns(200, Readiness, bare),
    async (c) => withStatus(c, await readiness(c.var.request), (report) => report.healthy),
  )

for (const path of ['/health/kv', '/health/redis'])
  health.get(
    path,
    doc('Whether KV answers', { tag, also: down('KV does not answer.', KvHealth) }),
    open(),
    returns(200, KvHealth, bare),
    async (c) => withStatus(c, await kvHealth(c.var.request), (report) => report.status === 'healthy'),
  )

/** The report as it is; 503 where it is a bad one, which is all that a load balancer looks at. */
function withStatus<T>(
  c: Context<AppEnv & { Variables: { reply: (value: T) => Response } }>,
  report: T,
  isGood: (report: T) => boolean,
): Response {
  const answer = c.var.reply(report)
  return isGood(report) ? answer : new Response(answer.body, { status: 503, headers: answer.headers })
}
