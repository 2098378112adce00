import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { deleteApplication, getApplication, listApplications } from '../../webhooks/applications/service'
import { svix as dialect } from '../dialect'
import { createdOrNot, Flag, listing, listOf, prefixed, Ref, spanOf, unprefixed, windowOf } from '../wire'
import { ApplicationIn, ApplicationOut, ApplicationPatch, ListApplications } from './schema'
import { applicationOut, makeApplication, patchApplication, putApplication } from './service'

const tag = 'svix'
const path = { app_id: Ref('app') }
const bare = { bare: true } as const
const example = { name: 'My first application', uid: 'unique-app-identifier' }

/** Svix's applications: groups of endpoints and events inside the tenant. */
export const svixApplications = new Hono<AppEnv>()
  .get(
    '/',
    doc('List applications, oldest first', { tag, dialect }),
    allow('webhooks:read'),
    query(ListApplications, { unknown: 'ignored' }),
    returns(200, listOf(ApplicationOut), bare),
    async (c) => {
      const window = windowOf(c.req.valid('query'), 'ascending', (text) => unprefixed('app', text))
      const rows = await listApplications(c.var.ctx, spanOf(window))
      const show = listing(
        rows,
        window,
        (row) => applicationOut(row),
        ({ id }) => prefixed('app', id),
      )
      return c.var.reply(show)
    },
  )
  .post(
    '/',
    doc('Create an application', {
      tag,
      dialect,
      description: 'With `get_if_exists=true` the one of its uid is answered, with 200, where there is one.',
      errors: ['already_exists'],
      also: [{ status: 200, schema: ApplicationOut, bare: true, description: 'It was there already' }],
    }),
    allow('webhooks:write'),
    query({ get_if_exists: Flag(false) }, { unknown: 'ignored' }),
    body(ApplicationIn, { example }),
    returns(201, ApplicationOut, createdOrNot),
    async (c) => {
      const { get_if_exists } = c.req.valid('query')
      return c.var.reply(await makeApplication(c.var.ctx, c.req.valid('json'), get_if_exists))
    },
  )
  .get(
    '/:app_id',
    doc('Read an application', { tag, dialect }),
    allow('webhooks:read'),
    params(path),
    returns(200, ApplicationOut, bare),
    async (c) => c.var.reply(applicationOut(await getApplication(c.var.ctx, c.req.valid('param').app_id))),
  )
  .put(
    '/:app_id',
    doc('Change an application, or create the one of that uid', {
      tag,
      dialect,
      errors: ['already_exists'],
      also: [{ status: 201, schema: ApplicationOut, bare: true, description: 'It was created' }],
    }),
    allow('webhooks:write'),
    params(path),
    body(ApplicationIn, { example: { name: 'My first application' } }),
    returns(200, ApplicationOut, createdOrNot),
    async (c) =>
      c.var.reply(await putApplication(c.var.ctx, c.req.valid('param').app_id, c.req.valid('json'))),
  )
  .patch(
    '/:app_id',
    doc('Change what is sent of an application', { tag, dialect, errors: ['already_exists'] }),
    allow('webhooks:write'),
    params(path),
    body(ApplicationPatch, { example: { name: 'My application' } }),
    returns(200, ApplicationOut, bare),
    async (c) =>
      c.var.reply(await patchApplication(c.var.ctx, c.req.valid('param').app_id, c.req.valid('json'))),
  )
  .delete(
    '/:app_id',
    doc('Delete an application with its endpoints', {
      tag,
      dialect,
      description:
        'What is under way for its endpoints is cancelled; its messages can still be read as events.',
    }),
    allow('webhooks:write'),
    params(path),
    returnsNothing(),
    async (c) => {
      const { id } = await getApplication(c.var.ctx, c.req.valid('param').app_id)
      return c.var.reply(await deleteApplication(c.var.ctx, id))
    },
  )
