import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { doc, open, returnsNothing } from '../../http/route'
import { svixApplications } from './applications/routes'
import { svixAttempts } from './attempts/routes'
import { svix as dialect } from './dialect'
import { svixExamples } from './endpoints/example-routes'
import { svixEndpointParts } from './endpoints/part-routes'
import { svixEndpoints } from './endpoints/routes'
import { svixEventTypes } from './event-types/routes'
import { svixMessages } from './messages/routes'
import { svixRecoveries, svixStatistics, svixTasks } from './tasks/routes'

/** What Svix's own clients drive unchanged, under the paths that they know. */
export const svixRoutes = new Hono<AppEnv>()
  .route('/app', svixApplications)
  .route('/app/:app_id/endpoint', svixEndpoints)
  .route('/app/:app_id/endpoint', svixEndpointParts)
  .route('/app/:app_id/endpoint', svixExamples)
  .route('/app/:app_id/endpoint', svixRecoveries)
  .route('/app/:app_id/msg', svixMessages)
  .route('/app/:app_id', svixAttempts)
  .route('/event-type', svixEventTypes)
  .route('/background-task', svixTasks)
  .route('/stats', svixStatistics)
  .get(
    '/health',
    doc('Whether the service answers', { tag: 'svix', dialect }),
    open(),
    returnsNothing(),
    (c) => c.var.reply(undefined),
  )
