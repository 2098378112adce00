import type { Bindings, Settings } from '../../env'
import { fromStorage } from '../../lib/from-storage'
import { completeParts, dropParts, startParts, usesS3 } from './s3'

// The bytes of files: objects in R2, whose names begin with the tenant.

type Place = { tenant_id: string; id: string }
export type Part = { part_number: number; etag: string }

export const keyOf = ({ tenant_id, id }: Place): string => `${tenant_id}/files/${id}`

/** Marks an upload in parts that the S3 API began: the binding does not know it. */
const OF_S3 = 's3:'

/** Begins an upload in parts, where bytes go straight to storage if that is configured; its id. */
export async function beginParts(
  env: Bindings,
  settings: Settings,
  place: Place,
  contentType: string,
): Promise<string> {
  const key = keyOf(place)
  if (usesS3(settings)) return OF_S3 + (await startParts(settings, key, contentType))
  const upload = await fromStorage(env.FILES.createMultipartUpload(key, { httpMetadata: { contentType } }))
  return upload.uploadId
}

/** The id by which storage itself knows the upload. */
export const plainUploadId = (uploadId: string): string =>
  uploadId.startsWith(OF_S3) ? uploadId.slice(OF_S3.length) : uploadId

/** Makes one object of the parts; null, or why storage did not, as it said that. */
export async function joinParts(
  env: Bindings,
  settings: Settings,
  place: Place,
  uploadId: string,
  parts: readonly Part[],
): Promise<unknown> {
  const id = plainUploadId(uploadId)
  if (id !== uploadId) return completeParts(settings, keyOf(place), id, parts)
  const joined = parts.map(({ part_number, etag }) => ({
    partNumber: part_number,
    etag: etag.replaceAll('"', ''),
  }))
  return env.FILES.resumeMultipartUpload(keyOf(place), id)
    .complete(joined)
    .then(
      () => null,
      (cause: unknown) => cause,
    )
}

/** Removes what there is of a file: its object, and parts that were never joined. Harmless where there is nothing. */
export async function removeBytes(
  env: Bindings,
  settings: Settings,
  place: Place & { upload_id: string | null },
): Promise<void> {
  if (place.upload_id !== null) {
    const id = plainUploadId(place.upload_id)
    if (id !== place.upload_id) await dropParts(settings, keyOf(place), id)
    // Storage ends those that it knows nothing of any more by itself.
    else
      await env.FILES.resumeMultipartUpload(keyOf(place), id)
        .abort()
        .catch(() => {})
  }
  await env.FILES.delete(keyOf(place))
}
