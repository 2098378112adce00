import { DurableObject } from 'cloudflare:workers'

// One hop for each path, bare: what a delivery is made of, and the least that each can cost.

type Env = { DB: D1Database; HOPS: DurableObjectNamespace<Hop>; QUEUE: Queue; RECEIVER: string }

const TEXT = 'x'.repeat(300)
const row = () => ({ id: crypto.randomUUID(), text: TEXT })

export class Hop extends DurableObject<Env> {
  constructor(state: DurableObjectState, env: Env) {
    super(state, env)
    state.storage.sql.exec('create table if not exists rows (id text primary key, text text) without rowid')
  }

  async ping(): Promise<void> {}

  async write(): Promise<void> {
    const { id, text } = row()
    this.ctx.storage.sql.exec('insert into rows values (?, ?)', id, text)
  }

  async arm(): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now() + 1_000_000 + Math.random() * 1_000)
  }

  override async alarm(): Promise<void> {}

  /** As a delivery: claimed, sent, recorded. */
  async deliver(): Promise<void> {
    await this.write()
    await post(this.env)
    await this.write()
  }
}

async function post(env: Env): Promise<void> {
  const answer = await fetch(env.RECEIVER, { method: 'POST', body: TEXT })
  await answer.text()
}

const insert = (env: Env) => {
  const { id, text } = row()
  return env.DB.prepare('insert into rows values (?, ?)').bind(id, text)
}

const hops: Record<string, (env: Env, object: DurableObjectStub<Hop>) => Promise<unknown>> = {
  nothing: async () => {},
  read: (env) => env.DB.prepare('select * from rows where id = ?').bind('none').all(),
  write: (env) => insert(env).run(),
  batch: (env) => env.DB.batch(Array.from({ length: 5 }, () => insert(env))),
  many: (env) =>
    env.DB.prepare(`insert into rows select value ->> 'id', value ->> 'text' from json_each(?)`)
      .bind(JSON.stringify(Array.from({ length: 20 }, row)))
      .run(),
  queue: (env) => env.QUEUE.send({ id: crypto.randomUUID() }),
  object: (_, object) => object.ping(),
  objectWrite: (_, object) => object.write(),
  objectAlarm: (_, object) => object.arm(),
  fetch: (env) => post(env),
  deliver: (_, object) => object.deliver(),
}

export default {
  async fetch(request, env) {
    const name = new URL(request.url).pathname.slice(1)
    if (name === 'setup')
      await env.DB.prepare('create table if not exists rows (id text primary key, text text)').run()
    await hops[name]?.(env, env.HOPS.getByName(`of a hundred, ${Math.floor(Math.random() * 100)}`))
    return new Response('ok')
  },
  async queue() {},
} satisfies ExportedHandler<Env>
