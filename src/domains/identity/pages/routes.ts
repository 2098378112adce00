import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { fromAssets } from '../../../http/assets'
import { doc, open } from '../../../http/route'

/** No script but the pages' own, no words to any other host, and no frame around them. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const PAGES = ['/verify-email', '/reset-password', '/forgot-password', '/accept-invitation']

/** Where the links of the mails lead, for who has no front end of their own yet. */
export const accountPages = new Hono<AppEnv>()
  .on('GET', PAGES, doc('Page of a link in a mail', { hidden: true }), open(), (c) =>
    fromAssets(c, '/account/', {
      'Content-Security-Policy': CONTENT_SECURITY_POLICY,
      'Cache-Control': 'no-store',
    }),
  )
  .get('/account/:file', doc('Files of those pages', { hidden: true }), open(), (c) => fromAssets(c))
