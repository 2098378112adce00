import type { Hono } from 'hono'
import type { Bindings } from '../../../env'
import type { AppEnv } from '../../../http/app-env'
import { SERVER } from './server'

let read: string | undefined

/** The document as `scripts/build.mjs` made it of this very code; `document.ts` makes it where there was no build. */
export async function readDocument(_app: Hono<AppEnv>, { ASSETS }: Bindings): Promise<string> {
  if (read === undefined) {
    const file = await ASSETS.fetch(`${SERVER}/openapi.json`)
    if (!file.ok) throw new Error(`openapi.json is not among the assets (${file.status})`)
    read = await file.text()
  }
  return read
}
