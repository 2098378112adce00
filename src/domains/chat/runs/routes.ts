import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, open, params, returns } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { idempotencyOf } from '../../metering/idempotency/middleware'
import { tell } from '../room/client'
import { runToken, type WithRun } from './proof'
import { RunEvents, RunProgress } from './schema'

/** Where agents that answer by callback post what they say. */
export const runs = new Hono<AppEnv>().post(
  '/:id/events',
  doc('Post what an agent says', {
    tag: 'Agents',
    description:
      'For a webhook agent that answered 202, under the token that came with its request, in `X-Causeway-Run-Token` or as a bearer. What was taken before may be sent again; what is taken is kept. `done` or `error` ends the run.',
    idempotency: 'proven',
    counts: 'source',
    errors: ['sequence_gap', 'run_ended', 'run_not_by_callback', 'not_found'],
  }),
  open(),
  params({ id: Id }),
  runToken(),
  idempotencyOf<WithRun>((c) => ({
    ...{ tenant_id: c.get('chat').tenant_id, principal: `run:${c.req.param('id')}`, ctx: undefined },
  })),
  body(RunEvents),
  returns(200, RunProgress),
  async (c) =>
    c.var.reply(
      await tell(c.env, c.var.chat, 'runEvents', {
        run_id: c.req.valid('param').id,
        ...c.req.valid('json'),
      }),
    ),
)
