import type { Settings } from '../../env'
import { equalInConstantTime, isTaggedBy, tagBy } from '../../lib/crypto'
import { base64url } from '../../lib/encoding'

// The service's own signed URLs: what they allow is in them, and only who has the master key can have made them.

const PURPOSE = 'file-url'

/** What a URL allows: to read a file, or to send its bytes, or those of one part. */
export type Signed = {
  method: 'GET' | 'PUT'
  tenant_id: string
  id: string
  /** In seconds since 1970. */
  expires: number
  part?: number | undefined
}

const textOf = ({ method, tenant_id, id, expires, part = 0 }: Signed) =>
  `${method}\n${tenant_id}\n${id}\n${expires}\n${part}`

/** The URL that allows it, until then. */
export async function signedUrl(
  { PUBLIC_URL, MASTER_KEY }: Pick<Settings, 'PUBLIC_URL' | 'MASTER_KEY'>,
  signed: Signed,
): Promise<string> {
  const url = new URL(`${PUBLIC_URL}/api/v1/files/signed/${signed.id}`)
  url.searchParams.set('tenant', signed.tenant_id)
  url.searchParams.set('expires', String(signed.expires))
  if (signed.part !== undefined) url.searchParams.set('part', String(signed.part))
  url.searchParams.set('signature', base64url(await tagBy(MASTER_KEY, PURPOSE, textOf(signed))))
  return url.href
}

/** Whether the service made that signature, whenever it ends. */
export const isSignedBy = (
  settings: Pick<Settings, 'MASTER_KEY' | 'MASTER_KEY_PREVIOUS'>,
  signed: Signed,
  signature: string,
): Promise<boolean> =>
  isTaggedBy(settings, PURPOSE, textOf(signed), (tag) => equalInConstantTime(base64url(tag), signature))
