import { type Context, Hono } from 'hono'
import * as z from 'zod'
import { readDocument } from '#document'
import type { AppEnv } from '../../../http/app-env'
import { fromAssets } from '../../../http/assets'
import { doc, open } from '../../../http/route'
import { randomBytes } from '../../../lib/crypto'
import { base64 } from '../../../lib/encoding'
import { problem } from '../../../lib/problem'
import { contentSecurityPolicy, redocPage, swaggerPage } from './pages'
import { SERVER } from './server'

/** The files that the two pages load; `npm run dev` and `npm run deploy` copy them out of their packages. */
const ASSETS = ['swagger-ui.css', 'swagger-ui-bundle.js', 'redoc.standalone.js']

/** The document of `app`'s routes, and the pages that show it. */
export function documents(app: Hono<AppEnv>): Hono<AppEnv> {
  return new Hono<AppEnv>()
    .get(
      '/openapi.json',
      doc('This document', {
        tag: 'Operations',
        returns: { status: 200, bare: true, schema: z.record(z.string(), z.unknown()).meta({ example: {} }) },
      }),
      open(),
      async (c) => {
        const text = await readDocument(app, c.env)
        return c.body(text.replace(SERVER, new URL(c.req.url).origin), 200, {
          'Content-Type': 'application/json',
          'Cache-Control': 'no-cache',
        })
      },
    )
    .get('/docs', doc('Swagger UI', { hidden: true }), open(), (c) => showPage(c, swaggerPage))
    .get('/redoc', doc('ReDoc', { hidden: true }), open(), (c) => showPage(c, redocPage))
    .get('/docs/:file', doc('Files of the two pages', { hidden: true }), open(), showAsset)
    .get('/favicon.svg', doc('The icon', { hidden: true }), open(), (c) => fromAssets(c))
}

const missing = (c: Context<AppEnv>) => problem('route_not_found', `There is no ${c.req.path}`)

function showPage(c: Context<AppEnv>, page: (nonce: string) => string) {
  if (!c.var.request.settings.docs) throw missing(c)
  const nonce = base64(randomBytes(16))
  return c.html(page(nonce), 200, {
    'Content-Security-Policy': contentSecurityPolicy(nonce),
    'Cache-Control': 'no-store',
  })
}

function showAsset(c: Context<AppEnv>) {
  if (!c.var.request.settings.docs || !ASSETS.includes(c.req.param('file') ?? '')) throw missing(c)
  return fromAssets(c)
}
