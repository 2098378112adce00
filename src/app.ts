import { Hono } from 'hono'
import type { AppEnv } from './http/app-env'
import { requestContext } from './http/context'
import { answerUnknown } from './http/method'
import { problemResponse } from './http/problems'
import { crossOrigin, requireHttps, securityHeaders, trustedHost } from './http/security'

// The whole HTTP surface on one page: the life of a request from top to bottom, then the routes.

export const app = new Hono<AppEnv>({ strict: false })

app.onError((error, c) => problemResponse(c, error))
app.use(requestContext)
app.use(securityHeaders)
app.use(requireHttps)
app.use(trustedHost)
app.use(crossOrigin)

answerUnknown(app)
