import type { Context } from 'hono'
import { problem } from '../lib/problem'
import type { AppEnv } from './app-env'

/** The static file at `path`, by default the request's own, with `more` headers; 404 where there is none. */
export async function fromAssets(
  c: Context<AppEnv>,
  path = c.req.path,
  more: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const asked = new Request(new URL(path, c.req.url), { headers: c.req.raw.headers })
  const found = await c.env.ASSETS.fetch(asked)
  if (found.status === 404) throw problem('route_not_found', `There is no ${c.req.path}`)
  // A fetched answer's headers can't be changed; the middleware adds its own.
  const answer = new Response(found.body, found)
  for (const [name, value] of Object.entries(more)) answer.headers.set(name, value)
  return answer
}
