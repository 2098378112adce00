import { createHmac, randomUUID } from 'node:crypto'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Queue, Worker } from 'bullmq'
import pg from 'pg'

// What a team would build for itself: events are taken by one process, which puts a job for each endpoint into Redis, and
// sent by another, which signs, sends, and logs each attempt to PostgreSQL before the job is done.

export type Order = {
  role: 'accept' | 'send'
  redis: number
  postgres: number
  endpoints: { id: string; url: string; event_types: string[]; secret: string }[]
}

type Job = { event_id: string; type: string; timestamp: string; body: string; endpoint: number }

/** As many attempts at once; more did not make it faster. */
const CONCURRENCY = 64
const QUEUE = 'deliveries'

export const SCHEMA = `create table attempts (
  id bigint generated always as identity primary key,
  event_id text not null, event_type text not null, endpoint_id text not null, number integer not null,
  attempted_at timestamptz not null, duration_ms integer not null, response_status integer,
  response_headers jsonb, response_body text, request_headers jsonb not null, error text
);
create index attempts_by_endpoint on attempts (endpoint_id, id);
create index attempts_by_event on attempts (event_id)`

const LOG = `insert into attempts (event_id, event_type, endpoint_id, number, attempted_at, duration_ms, response_status,
  response_headers, response_body, request_headers, error) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`

/** Takes events by HTTP and answers 201 once their jobs are in Redis. */
async function accept({ redis, endpoints }: Order): Promise<number> {
  const queue = new Queue<Job>(QUEUE, { connection: { host: '127.0.0.1', port: redis } })
  const options = { attempts: 10, backoff: { type: 'exponential', delay: 5_000 }, removeOnComplete: true }
  const server = http.createServer(async (request, response) => {
    const event = JSON.parse(await text(request)) as { type: string; data: unknown }
    const [event_id, timestamp] = [`msg_${randomUUID()}`, new Date().toISOString()]
    const body = JSON.stringify({ id: event_id, type: event.type, timestamp, data: event.data })
    const jobs = endpoints.flatMap(({ event_types }, endpoint) =>
      event_types.includes(event.type)
        ? [{ name: 'send', data: { event_id, type: event.type, timestamp, body, endpoint }, opts: options }]
        : [],
    )
    await queue.addBulk(jobs)
    response.writeHead(201, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify({ data: { id: event_id, type: event.type, timestamp, data: event.data } }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

type Answer = { status: number; headers: http.IncomingHttpHeaders; body: string }

const agent = new http.Agent({ keepAlive: true })

function post(url: string, headers: Record<string, string>, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method: 'POST', agent, headers, timeout: 10_000 }, (response) => {
      const answered = (answer: string) =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: answer })
      text(response).then(answered, reject)
    })
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s')))
    request.on('error', reject)
    request.end(body)
  })
}

/** Sends what is in Redis. */
async function send({ redis, postgres, endpoints }: Order): Promise<number> {
  const pool = new pg.Pool({
    host: '127.0.0.1',
    port: postgres,
    user: 'bench',
    database: 'postgres',
    max: 20,
  })
  const worker = new Worker<Job>(
    QUEUE,
    async ({ data: job, attemptsMade }) => {
      const endpoint = endpoints[job.endpoint]
      if (!endpoint) throw new Error('no such endpoint')
      const started = Date.now()
      const seconds = Math.floor(started / 1000)
      const key = Buffer.from(endpoint.secret, 'base64')
      const signature = createHmac('sha256', key)
        .update(`${job.event_id}.${seconds}.${job.body}`)
        .digest('base64')
      const headers = {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(job.body)),
        'webhook-id': job.event_id,
        'webhook-timestamp': String(seconds),
        'webhook-signature': `v1,${signature}`,
        'webhook-attempt': String(attemptsMade + 1),
      }
      const answer = await post(endpoint.url, headers, job.body).catch((error: Error) => error)
      const failed = answer instanceof Error
      const error = failed
        ? answer.message
        : answer.status >= 300
          ? `status: answered ${answer.status}`
          : null
      await pool.query({
        name: 'log',
        text: LOG,
        values: [
          ...[job.event_id, job.type, endpoint.id, attemptsMade + 1, new Date(started), Date.now() - started],
          ...(failed ? [null, null, null] : [answer.status, JSON.stringify(answer.headers), answer.body]),
          ...[JSON.stringify(headers), error],
        ],
      })
      if (error !== null) throw new Error(error)
    },
    { connection: { host: '127.0.0.1', port: redis }, concurrency: CONCURRENCY },
  )
  await worker.waitUntilReady()
  return 0
}

process.once('message', async (order: Order) => {
  const port = await (order.role === 'accept' ? accept(order) : send(order))
  process.send?.(port)
})
