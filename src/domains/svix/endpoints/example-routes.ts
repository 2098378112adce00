import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, returns } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { svix as dialect } from '../dialect'
import { MessageOut } from '../messages/schema'
import { Ref } from '../wire'
import { ExampleIn, sendExample } from './example'
import { endpointAt } from './part-routes'

/** Examples of event types, sent to one endpoint; mounted under an application's endpoints. */
export const svixExamples = new Hono<AppEnv>().post(
  '/:endpoint_id/send-example',
  doc('Send an endpoint an example of an event type', {
    tag: 'svix',
    dialect,
    description: 'A message that goes to this endpoint alone, whatever types it takes.',
  }),
  allow('webhooks:write'),
  params({ app_id: Ref('app'), endpoint_id: Ref('ep') }),
  body(ExampleIn, { example: { eventType: 'user.signup' } }),
  returns(202, MessageOut, { bare: true }),
  async (c) => {
    const endpoint = await endpointAt(c.var.ctx, c.req.valid('param'))
    return c.var.reply(await sendExample(c.var.ctx, endpoint, c.req.valid('json')))
  },
)
