import { and, eq } from 'drizzle-orm'
import type { Context, RequestContext, Tenant } from '../../data/context'
import { directory } from '../../data/database'
import { contextFor } from '../../data/system'
import { problem } from '../../lib/problem'
import { tenantView } from '../identity/sessions/standing'
import { refuseUnlessActive } from '../tenancy/tenants/active'
import { tenants } from '../tenancy/tenants/table'
import type { SignedQuery } from './schema'
import { isSignedBy, type Signed } from './signing'
import { type FileRow, files } from './table'

const ANOTHER =
  'ask for another: POST /api/v1/files/{id}/url to read a file, POST /api/v1/files/presign to send one.'

/**
 * What a signed URL allows, proven by its signature before anything is looked up. 404 without a signature, 401
 * `invalid_signature` where the URL was altered, `signature_expired` after its time.
 */
export async function proven(
  { settings, now }: Pick<RequestContext, 'settings' | 'now'>,
  method: Signed['method'],
  id: string,
  { tenant, expires, part, signature }: SignedQuery,
): Promise<Signed> {
  if (tenant === undefined || expires === undefined || signature === undefined)
    throw problem.notFound('file', id)
  const signed: Signed = { method, tenant_id: tenant, id, expires, part }
  if (!(await isSignedBy(settings, signed, signature)))
    throw problem.unauthorized(
      'invalid_signature',
      'The URL is not one that was signed here, or was altered',
      {},
      `Use the URL as it was given, by the method that it was given for; ${ANOTHER}`,
    )
  if (expires * 1000 <= now)
    throw problem.unauthorized('signature_expired', 'The URL has expired', {}, `A${ANOTHER.slice(1)}`)
  return signed
}

/** The file of a signed URL, with a context for its tenant; 404 where it is gone, 403 where its tenant does not stand. */
export async function signedFile(
  request: RequestContext,
  { tenant_id, id }: Signed,
): Promise<{ ctx: Context; row: FileRow }> {
  const found = await directory(request.env)
    .select({ file: files, tenant: tenants })
    .from(files)
    .innerJoin(tenants, eq(tenants.id, files.tenant_id))
    .where(and(eq(files.tenant_id, tenant_id), eq(files.id, id)))
    .get()
  if (!found) {
    // With its tenant, maybe, for which no Meter must begin anew.
    request.usedBy = undefined
    throw problem.notFound('file', id)
  }
  const tenant: Tenant = tenantView(found.tenant)
  refuseUnlessActive(tenant.status, 'file')
  const ctx = contextFor(request, tenant, { kind: 'system', id: 'signed-url', scopes: new Set() })
  return { ctx, row: found.file }
}
