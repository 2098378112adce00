import type { Miniflare } from 'miniflare'
import { platformAdminSql } from '../scripts/lib/platform-admin.mjs'
import { newId } from '../src/lib/ids.ts'
import { ask, by, LOGIN } from './seed.ts'

// Who asks what no tenant can ask: the platform's administrator, about each of the measured tenants.

/** What the platform's administrator asks; a partner's portal is for the partner's own users. */
export const ofPlatform = (path: string): boolean =>
  path.startsWith('/api/platform/') ||
  (path.startsWith('/api/v1/partners') && !path.startsWith('/api/v1/partners/portal'))

/** Makes the platform and its administrator; answers with a token. */
export async function platformToken(recorder: Miniflare, database: D1Database): Promise<string> {
  const login = { ...LOGIN, email: 'platform@example.com' }
  const statements = platformAdminSql(login.email, login.password, newId)
    .split(/;\n/)
    .filter((statement) => statement.trim() !== '')
  await database.batch(statements.map((statement) => database.prepare(statement)))
  const { data } = await ask(recorder, 'POST', '/api/v1/auth/login', { body: login })
  return String(data.access_token)
}

/** Makes a partner of which a tenant is one, and for which a user of that tenant acts; answers with its id. */
export async function partnerOf(
  recorder: Miniflare,
  token: string,
  tenantId: string,
  userId: string,
): Promise<string> {
  const headers = by(token)
  const { data } = await ask(recorder, 'POST', '/api/v1/partners', { headers, body: { name: 'Rows' } })
  const path = `/api/v1/partners/${data.id}`
  await ask(recorder, 'PUT', `${path}/tenants/${tenantId}`, { headers, body: { role: 'viewer' } })
  await ask(recorder, 'PUT', `${path}/users/${userId}`, { headers })
  return String(data.id)
}
