import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, query, returns, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { Call, CallRecording, CallTurn, ListCalls, ListTurns, PlaceCall } from './schema'
import { endCall, getCall, getRecording, listTurns, pageOfCalls, placeCall } from './service'
import './simulated'

const tag = 'Calls'
const id = params({ id: Id })

export const callRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Have an agent call somebody', {
      tag,
      description:
        'It is on its way when this answers. What its first minute costs is held of your credit until it ends, and more while it lasts.',
      errors: ['insufficient_credit', 'provider_not_configured'],
    }),
    allow('calls:write'),
    body(PlaceCall),
    returns(201, Call),
    async (c) => c.var.reply(await placeCall(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List calls, newest first', {
      tag,
      description:
        'Where several filters choose among many, a page may be shorter than `limit`, or empty, and others follow.',
    }),
    allow('calls:read'),
    query(ListCalls),
    returnsPage(Call),
    async (c) => c.var.reply(await pageOfCalls(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read how a call stands', { tag, description: 'The channel `calls:{id}` says it as it happens.' }),
    allow('calls:read'),
    id,
    returns(200, Call),
    async (c) => c.var.reply(await getCall(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:id/transcript',
    doc('Read what was said in a call', { tag, description: 'In its order; also while it lasts.' }),
    allow('calls:read'),
    id,
    query(ListTurns),
    returnsPage(CallTurn),
    async (c) => c.var.reply(await listTurns(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .get(
    '/:id/recording',
    doc('Get a URL that plays the recording of a call', {
      tag,
      description: 'For a quarter of an hour, to whoever has it. 404 before there is one.',
    }),
    allow('calls:read'),
    id,
    returns(200, CallRecording),
    async (c) => c.var.reply(await getRecording(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/end',
    doc('End a call', {
      tag,
      description:
        'One that was answered is `completed`, any other `failed`. From now on it costs nothing; its provider is told until it has hung up.',
      errors: ['conflict'],
    }),
    allow('calls:write'),
    id,
    returns(200, Call),
    async (c) => c.var.reply(await endCall(c.var.ctx, c.req.valid('param').id)),
  )
