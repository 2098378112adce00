import { Hono } from 'hono'
import type { AppEnv } from './app-env'

/** The reads of `routes`, all or those of one path, to be mounted once more: the same handlers, with what they say. */
export function readsOf(routes: Hono<AppEnv>, only?: string): Hono<AppEnv> {
  const reads = new Hono<AppEnv>()
  for (const { method, path, handler } of routes.routes)
    if (method === 'GET' && (only ?? path) === path) reads.get(path, handler)
  return reads
}
