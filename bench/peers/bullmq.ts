import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import path from 'node:path'
import { Queue } from 'bullmq'
import pg from 'pg'
import { Poster } from '../webhooks/poster.ts'
import type { Sender } from '../webhooks/sender.ts'
import { end, startPostgres, startRedis } from './programs.ts'
import { type Order, SCHEMA } from './sender.ts'

/** A BullMQ sender of its own two processes, with a Redis and a PostgreSQL that nobody else uses. */
export async function startBullmq(
  programs: { redis: string; postgres: string },
  directory: string,
  endpoints: { url: string; event_types: string[] }[],
): Promise<Sender & { stop: () => Promise<void> }> {
  const redis = await startRedis(programs.redis, path.join(directory, 'redis'))
  const postgres = await startPostgres(programs.postgres, path.join(directory, 'postgres'))
  const database = new pg.Client({
    host: '127.0.0.1',
    port: postgres.port,
    user: 'bench',
    database: 'postgres',
  })
  await database.connect()
  await database.query(SCHEMA)
  const known = endpoints.map((endpoint, n) => ({
    ...{ ...endpoint, id: String(n) },
    secret: randomBytes(32).toString('base64'),
  }))
  const order = { redis: redis.port, postgres: postgres.port, endpoints: known }
  const [accepting, sending] = [
    await startProcess({ role: 'accept', ...order }),
    await startProcess({ role: 'send', ...order }),
  ]
  const queue = new Queue('deliveries', { connection: { host: '127.0.0.1', port: redis.port } })
  const url = `http://127.0.0.1:${accepting.port}/events`
  const poster = new Poster({ port: accepting.port, url, headers: {} }, 64)
  return {
    name: 'BullMQ, Redis, PostgreSQL',
    poster,
    processes: [redis.pid, postgres.pid, accepting.child.pid ?? 0, sending.child.pid ?? 0],
    open: async () => {
      const { completed: _, failed: __, ...open } = await queue.getJobCounts()
      return Object.values(open).reduce((sum, count) => sum + count, 0)
    },
    logged: async () => {
      const { rows } = await database.query<{ count: string }>('select count(*) as count from attempts')
      return Number(rows[0]?.count)
    },
    hold: () => queue.pause(),
    release: () => queue.resume(),
    stop: async () => {
      poster.close()
      await queue.close()
      await database.end()
      await Promise.all([end(accepting.child, 'SIGTERM'), end(sending.child, 'SIGTERM')])
      await Promise.all([redis.stop(), postgres.stop()])
    },
  }
}

async function startProcess(order: Order): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(path.join(import.meta.dirname, 'sender.ts'), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  child.send(order)
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (answer) => resolve(Number(answer)))
    child.once('exit', (code) => reject(new Error(`the sender ended with ${code}`)))
  })
  return { child, port }
}
