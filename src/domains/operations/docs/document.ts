import type { Hono } from 'hono'
import type { Bindings } from '../../../env'
import type { AppEnv } from '../../../http/app-env'
import { openApiDocument } from '../../../http/openapi'
import { about } from './about'
import { SERVER } from './server'

/** The document of `app`'s routes, as text; SERVER stands where the address is. */
export const printDocument = (app: Hono<AppEnv>): string =>
  JSON.stringify(openApiDocument(app, { ...about, server: SERVER }))

let printed: string | undefined

/** The document, made from the routes when it is first asked for. Deployed, `deployed.ts` stands for this. */
export async function readDocument(app: Hono<AppEnv>, _env: Bindings): Promise<string> {
  printed ??= printDocument(app)
  return printed
}
