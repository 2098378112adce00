import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../../http/app-env'
import { doc, open, returns } from '../../../http/route'
import { keyRing } from './keys'
import { JWKS_MAX_AGE_SECONDS } from './lifetimes'

const Jwks = z.object({ keys: z.array(z.record(z.string(), z.unknown())) }).meta({ id: 'JsonWebKeySet' })

/** The public keys (RFC 7517), the one that will sign next among them. */
export const wellKnown = new Hono<AppEnv>().get(
  '/jwks.json',
  doc('The public keys that access tokens are signed with', { tag: 'Authentication' }),
  open(),
  returns(200, Jwks, { bare: true }),
  async (c) => {
    const { jwks } = await keyRing(c.var.request)
    return c.json({ keys: jwks }, 200, { 'Cache-Control': `public, max-age=${JWKS_MAX_AGE_SECONDS}` })
  },
)
