import type { Context } from '../../../data/context'
import { type MasterKeys, randomBytes, Sealer } from '../../../lib/crypto'
import { base64, fromBase64 } from '../../../lib/encoding'

/** A signing secret in the form of Standard Webhooks: `whsec_` and the base64 of 32 bytes. */
export function makeSecret(): string {
  return `whsec_${base64(randomBytes(32))}`
}

/** Whether a text is a signing secret that others made: of 24 to 64 bytes, as Standard Webhooks asks. */
export function isSigningSecret(value: string): boolean {
  const raw = value.startsWith('whsec_') ? fromBase64(value.slice(6)) : null
  return raw !== null && raw.length >= 24 && raw.length <= 64 && base64(raw) === value.slice(6)
}

const sealer = (settings: MasterKeys) => new Sealer(settings, 'endpoint')
/** What a secret or header value is bound to. */
export const bound = (tenantId: string, endpointId: string) => `${tenantId}/${endpointId}`

/** A secret or header value of one endpoint, encrypted; it opens for that endpoint only. */
export function sealFor(ctx: Context, endpointId: string, plain: string): Promise<string> {
  return sealer(ctx.settings).seal(plain, bound(ctx.tenant.id, endpointId))
}

export function openFor(ctx: Context, endpointId: string, sealed: string): Promise<string> {
  return sealer(ctx.settings).open(sealed, bound(ctx.tenant.id, endpointId))
}
