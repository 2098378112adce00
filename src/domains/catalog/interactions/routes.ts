import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { fileAnswer, fileNote } from '../../files/answers'
import { Job } from '../../jobs/schema'
import { allow } from '../../tenancy/authorize'
import { getRecording } from '../recordings/content'
import { givenBody } from '../recordings/form'
import { register, wantedIn } from '../recordings/service'
import { createInteractions } from './batch'
import { batchBody } from './batch-body'
import { eraseInteractions } from './erase'
import { listInteractions } from './list'
import { BatchResult, EraseInteractions, Interaction, listFilters, RegisterOptions } from './schema'
import { deleteInteraction, getInteraction } from './service'

const tag = 'Interactions'
const id = params({ id: Id })

export const interactionRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Register something said or done', {
      tag,
      description:
        'What was said may come as a recording: `audio` of a form, or a `file_id`. One of at most 1 MiB is transcribed before the answer; others, and those with `Prefer: respond-async`, by the job of a 202.',
      also: [{ status: 202, schema: Job, description: 'The recording is kept, and transcribed by this job' }],
      errors: [
        ...(['service_disabled', 'payload_too_large', 'malformed_body', 'storage_limit_reached'] as const),
        ...(['upload_incomplete', 'upstream_failed', 'upstream_timeout', 'service_unavailable'] as const),
        ...(['provider_not_configured', 'provider_refused'] as const),
      ],
    }),
    allow('interactions:write'),
    query(RegisterOptions),
    givenBody(),
    returns(201, Interaction.or(Job), { statusOf: (value) => ('kind' in value ? 202 : 201) }),
    async (c) => {
      const wanted = wantedIn(c.req.header('Prefer'), c.req.valid('query').wait)
      const made = await register(c.var.ctx, c.var.given, wanted)
      if ('kind' in made) c.header('Location', `/api/v1/jobs/${made.id}`)
      if ('kind' in made && wanted.async) c.header('Preference-Applied', 'respond-async')
      return c.var.reply(made)
    },
  )
  .post(
    '/batch',
    doc('Register up to 1,000 things said or done', {
      tag,
      description:
        'A line of JSON for each, or a JSON array (`application/json`); 4 MiB. Good ones are kept, whatever is wrong with others.',
      errors: ['service_disabled'],
    }),
    allow('interactions:write'),
    batchBody(),
    returns(200, BatchResult),
    async (c) => c.var.reply(await createInteractions(c.var.ctx, c.var.sent)),
  )
  .get(
    '/',
    doc('List interactions, newest first', { tag }),
    allow('interactions:read'),
    query(listFilters),
    returnsPage(Interaction),
    async (c) => c.var.reply(await listInteractions(c.var.ctx, c.req.valid('query'))),
  )
  .delete(
    '/',
    doc('Delete all that a speaker said, or a user did', {
      tag,
      description: 'With recordings, by a job. Their events are erased by `DELETE /api/v1/events?subject=`.',
    }),
    allow('interactions:write'),
    query(EraseInteractions),
    returns(202, Job),
    async (c) => c.var.reply(await eraseInteractions(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read an interaction', { tag }),
    allow('interactions:read'),
    id,
    returns(200, Interaction),
    async (c) => c.var.reply(await getInteraction(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:id/audio',
    doc('Hear the recording of an interaction', {
      tag,
      description: 'Ranges and `If-None-Match` as in RFC 9110.',
      ...fileNote,
      errors: ['range_not_satisfiable'],
    }),
    allow('interactions:read'),
    id,
    async (c) => fileAnswer(c, c.var.ctx, await getRecording(c.var.ctx, c.req.valid('param').id)),
  )
  .delete(
    '/:id',
    doc('Delete an interaction, with its recording', { tag }),
    allow('interactions:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteInteraction(c.var.ctx, c.req.valid('param').id)),
  )
