import { Hono } from 'hono'
import { newId } from '../../src/lib/ids'

// What the service is measured against: bare Hono, which does the least that a route of its kind can do.

/** A parameter: the value itself, or a text whose `{{n}}` become fresh ids, the same n the same id. */
export type Param = { value: unknown } | { template: string }
export type PlannedStatement = { sql: string; params: Param[] }
/** What one request of the service says to D1, call by call: a batch, or one statement. */
export type PlannedCall = { batch: boolean; statements: PlannedStatement[] }
export type Plan = PlannedCall[]

/** An answer of the service, as it was, with the fields of the line that it logged. */
export type Recorded = { headers: [string, string][]; body: string; logged: Record<string, unknown> }

/** What of a chat’s object is asked here: which life of it this is. */
type Room = { openStreams: () => Promise<{ life: string }> }
type Bindings = {
  DB: D1Database
  PLANS: Record<string, Plan>
  ANSWER: Recorded
  CHATS: DurableObjectNamespace
}
type Env = { Bindings: Bindings }

const SLOT = /\{\{(\d+)\}\}/g

const app = new Hono<Env>()

app.get('/hello', (c) => c.text('Hello'))

app.get('/body', (c) => {
  const { body, headers } = c.env.ANSWER
  const type = headers.find(([name]) => name === 'content-type')?.[1] ?? ''
  return c.body(body, 200, { 'Content-Type': type })
})

app.get('/answer', (c) => {
  const { headers, body, logged } = c.env.ANSWER
  const answer = c.body(body)
  for (const [name, value] of headers) answer.headers.set(name, value)
  console.log(JSON.stringify({ time: new Date().toISOString(), ...logged }))
  return answer
})

app.get('/plans/:name', async (c) => c.json(await carryOut(c.env, c.req.param('name'))))

app.post('/plans/:name', async (c) => {
  const sent = await c.req.json()
  await carryOut(c.env, c.req.param('name'))
  return c.json(sent, 201)
})

app.post('/pipe', async (c) => {
  const { url } = await c.req.json<{ url: string }>()
  const upstream = await fetch(url, { method: 'POST', body: '{}' })
  return new Response(upstream.body, { headers: { 'Content-Type': 'text/event-stream' } })
})

// Not a floor: tells whether the chat’s object has slept, as its own routes do not.
app.get('/life/:tenant/:chat', async (c) => {
  const { tenant, chat } = c.req.param()
  const room = c.env.CHATS.getByName(`${tenant}/${chat}`) as unknown as Room
  return c.text((await room.openStreams()).life)
})

async function carryOut({ DB, PLANS }: Env['Bindings'], name: string): Promise<unknown> {
  const now = Date.now()
  const ids: string[] = []
  const fresh = (_: string, slot: string) => {
    const index = Number(slot)
    ids[index] ??= newId(now)
    return ids[index]
  }
  // Through the Sessions API, as the service says them: a bookmark comes with each answer.
  const session = DB.withSession('first-primary')
  const bound = ({ sql, params }: PlannedStatement) =>
    session
      .prepare(sql)
      .bind(
        ...params.map((param) => ('template' in param ? param.template.replace(SLOT, fresh) : param.value)),
      )
  let rows: unknown = null
  for (const { batch, statements } of PLANS[name] ?? []) {
    const [first] = statements
    if (batch) await session.batch(statements.map(bound))
    else if (first) rows = (await bound(first).all()).results
  }
  return rows
}

export default app
