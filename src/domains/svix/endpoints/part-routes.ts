import { Hono } from 'hono'
import * as z from 'zod'
import type { Context } from '../../../data/context'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { getApplication, type Ref as Named } from '../../webhooks/applications/service'
import { endpointOf } from '../../webhooks/endpoints/of-application'
import { readSecret, rotateSecret } from '../../webhooks/endpoints/rotation'
import type { EndpointRow } from '../../webhooks/endpoints/table'
import { svix as dialect } from '../dialect'
import { showing } from '../showing'
import { Ref } from '../wire'
import { headersOut, patchHeaders, putHeaders } from './headers'
import { HeadersIn, HeadersOut, HeadersPatchIn, SecretOut, SecretRotateIn } from './schema'
import { endpointStats, StatsOf, StatsOut } from './stats'

const tag = 'svix'
const path = { app_id: Ref('app'), endpoint_id: Ref('ep') }
const bare = { bare: true } as const

/** The endpoint that a path names. */
export async function endpointAt(
  ctx: Context,
  at: { app_id: Named; endpoint_id: Named },
): Promise<EndpointRow> {
  const { id } = await getApplication(ctx, at.app_id)
  return endpointOf(ctx, id, at.endpoint_id)
}

const NO_TRANSFORMATIONS = 'transformations are not available: leave them out, and transform before sending'

const Transformation = z.object({ code: z.null(), enabled: z.literal(false), updatedAt: z.null() })
const TransformationPatch = z.object({
  code: z.null(NO_TRANSFORMATIONS).optional(),
  enabled: z.literal(false, NO_TRANSFORMATIONS).optional(),
})

/** Secret, headers and transformation of Svix's endpoints. */
export const svixEndpointParts = new Hono<AppEnv>()
  .get(
    '/:endpoint_id/secret',
    doc('Read an endpoint’s signing secret', {
      tag,
      dialect,
      description: 'Every reading is audited.',
      secret: true,
    }),
    allow('webhooks:secret'),
    params(path),
    returns(200, SecretOut, bare),
    async (c) => {
      const { id } = await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply({ key: (await readSecret(c.var.ctx, id)).secret })
    },
  )
  .post(
    '/:endpoint_id/secret/rotate',
    doc('Rotate an endpoint’s signing secret', {
      tag,
      dialect,
      description: 'The one before signs too until the grace period has ended.',
      errors: ['conflict'],
      secret: true,
    }),
    allow('webhooks:write', 'webhooks:secret'),
    params(path),
    body(SecretRotateIn, { example: { gracePeriodSeconds: 3600 }, optional: true }),
    returnsNothing(),
    async (c) => {
      const { id } = await endpointAt(c.var.ctx, c.req.valid('param'))
      const { key, gracePeriodSeconds } = c.req.valid('json')
      const ctx = showing(c.var.ctx, () => undefined)
      const overlap_seconds = gracePeriodSeconds ?? 86_400
      await rotateSecret(ctx, id, { overlap_seconds, secret: key ?? undefined })
      return c.var.reply(undefined)
    },
  )
  .get(
    '/:endpoint_id/headers',
    doc('Read the headers that an endpoint adds', { tag, dialect }),
    allow('webhooks:read'),
    params(path),
    returns(200, HeadersOut, bare),
    async (c) => c.var.reply(headersOut(await endpointAt(c.var.ctx, c.req.valid('param')))),
  )
  .put(
    '/:endpoint_id/headers',
    doc('Set the headers that an endpoint adds', { tag, dialect, secret: true }),
    allow('webhooks:write'),
    params(path),
    body(HeadersIn, { example: { headers: { 'X-Environment': 'production' } } }),
    returnsNothing(),
    async (c) => {
      const { id } = await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply(await putHeaders(c.var.ctx, id, c.req.valid('json').headers))
    },
  )
  .patch(
    '/:endpoint_id/headers',
    doc('Set or remove some of the headers that an endpoint adds', { tag, dialect, secret: true }),
    allow('webhooks:write'),
    params(path),
    body(HeadersPatchIn, { example: { headers: { 'X-Environment': 'staging' } } }),
    returnsNothing(),
    async (c) => {
      const { id } = await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply(await patchHeaders(c.var.ctx, id, c.req.valid('json')))
    },
  )
  .get(
    '/:endpoint_id/stats',
    doc('Count an endpoint’s attempts', {
      ...{ tag, dialect, errors: ['service_unavailable'] },
      description: 'Those of the last 28 days, or of a part of them, by whole hours.',
    }),
    allow('webhooks:read'),
    params(path),
    query(StatsOf, { unknown: 'ignored' }),
    returns(200, StatsOut, bare),
    async (c) => {
      const { id } = await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply(await endpointStats(c.var.ctx, id, c.req.valid('query')))
    },
  )
  .get(
    '/:endpoint_id/transformation',
    doc('Read an endpoint’s transformation, which there is none', { tag, dialect }),
    allow('webhooks:read'),
    params(path),
    returns(200, Transformation, bare),
    async (c) => {
      await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply({ code: null, enabled: false, updatedAt: null })
    },
  )
  .patch(
    '/:endpoint_id/transformation',
    doc('Leave an endpoint without a transformation', {
      tag,
      dialect,
      description: 'One that has code, or is enabled, is refused.',
    }),
    allow('webhooks:write'),
    params(path),
    body(TransformationPatch, { example: { enabled: false } }),
    returnsNothing(),
    async (c) => {
      await endpointAt(c.var.ctx, c.req.valid('param'))
      return c.var.reply(undefined)
    },
  )
