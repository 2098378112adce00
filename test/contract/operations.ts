import { app } from '../../src/app'
import { about } from '../../src/domains/operations/docs/about'
import type { Note } from '../../src/http/notes'
import { openApiDocument, operationsOf } from '../../src/http/openapi'

export type Schema = {
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  anyOf?: Schema[]
  allOf?: Schema[]
  $ref?: string
  format?: string
}

export type Operation = {
  method: string
  /** As in the document: `/api/v1/chats/{id}`. */
  path: string
  name: string
  note: Note
  open: boolean
  platform: boolean
  scopes: string[]
  /** The JSON body: its schema without references, and the document's example. */
  body: { schema: Schema; example: unknown } | null
  contentType: string | null
  params: string[]
}

type Media = { schema: Schema; example?: unknown }
type Described = {
  security: unknown[]
  'x-required-scopes'?: string[]
  requestBody?: { content: Record<string, Media> }
}

const document = openApiDocument(app, { ...about, server: 'http://localhost:8787' }) as {
  paths: Record<string, Record<string, Described>>
  components: { schemas: Record<string, Schema> }
}

function resolved(schema: Schema): Schema {
  const name = schema.$ref?.split('/').at(-1)
  if (name) return resolved(document.components.schemas[name] ?? {})
  const parts = schema.allOf ?? []
  return parts.length === 1 && parts[0] ? resolved(parts[0]) : schema
}

/** Every operation of the OpenAPI document, with the note of its route. */
export const OPERATIONS: Operation[] = operationsOf(app).map(({ method, path, note }) => {
  const described = document.paths[path]?.[method]
  if (!described) throw new Error(`${method} ${path} is not in the document`)
  const scopes = described['x-required-scopes'] ?? []
  const content = described.requestBody?.content ?? {}
  const json = content['application/json']
  return {
    method: method.toUpperCase(),
    path,
    name: `${method.toUpperCase()} ${path}`,
    note,
    open: described.security.length === 0,
    platform: scopes.some((scope) => scope.startsWith('platform:')),
    scopes,
    body: json ? { schema: resolved(json.schema), example: json.example } : null,
    contentType: Object.keys(content)[0] ?? null,
    params: [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name),
  }
})

/** What a list must be asked, where it answers nothing without. */
export const MUST_ASK: Record<string, string> = { 'GET /api/v1/chats/search': 'q=seed' }

export const PATHS = [...new Set(OPERATIONS.map(({ path }) => path))]

/** Whether a concrete path is one that the pattern means. */
export const isOf = (pattern: string, path: string): boolean =>
  new RegExp(`^${pattern.replace(/\{\w+\}/g, '[^/]+')}$`).test(path)

/** The routes of the application by method and path, with all their handlers. */
export function routesOfApp(): Map<string, unknown[]> {
  const routes = new Map<string, unknown[]>()
  for (const { method, path, handler } of app.routes) {
    // Middleware.
    if (method === 'ALL' || path === '/*') continue
    const key = `${method} ${path.replace(/(.)\/$/, '$1')}`
    routes.set(key, [...(routes.get(key) ?? []), handler])
  }
  return routes
}
