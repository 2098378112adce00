import type * as z from 'zod'
import type { Context } from '../../../data/context'
import { currentTenant, updateCurrentTenant } from '../../tenancy/tenants/service'
import { listEndpoints } from '../../webhooks/endpoints/service'
import type { Service, UpdateService } from './schema'

type ServiceView = z.input<typeof Service> & { version: number }

/** The switch, and the endpoints that interactions are announced to. */
export async function getService(ctx: Context): Promise<ServiceView> {
  const [tenant, endpoints] = await Promise.all([currentTenant(ctx), everyEndpoint(ctx)])
  return {
    tenant_id: tenant.id,
    service_enabled: tenant.settings.service_enabled,
    endpoints,
    version: tenant.version,
  }
}

/** Switches the taking of interactions on or off. */
export async function updateService(ctx: Context, input: UpdateService): Promise<ServiceView> {
  const endpoints = await everyEndpoint(ctx)
  const settings = { service_enabled: input.service_enabled }
  return updateCurrentTenant(ctx, { settings }, ({ id, settings, version }) => ({
    tenant_id: id,
    service_enabled: settings.service_enabled,
    endpoints,
    version,
  }))
}

/** As many as a tenant can want to see at once; the list of endpoints pages through more. */
const MOST_ENDPOINTS = 500

async function everyEndpoint(ctx: Context): Promise<ServiceView['endpoints']> {
  const all: ServiceView['endpoints'] = []
  let cursor: string | undefined
  do {
    const page = await listEndpoints(ctx, { limit: 100, cursor })
    all.push(...page.items.map(({ id, uid, url, status }) => ({ id, uid, url, status })))
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined && all.length < MOST_ENDPOINTS)
  return all
}
