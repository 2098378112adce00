import { AwsClient } from 'aws4fetch'
import type { Settings } from '../../env'
import { storageFailed } from '../../lib/from-storage'
import { log } from '../../lib/log'

// R2 through its S3 API, where credentials for it are set: browsers send bytes there, and not through the Worker.

type S3 = Pick<
  Settings,
  'R2_S3_ENDPOINT' | 'R2_S3_BUCKET' | 'R2_S3_ACCESS_KEY_ID' | 'R2_S3_SECRET_ACCESS_KEY'
>

/** Whether uploads go straight to storage. */
export const usesS3 = ({ R2_S3_ENDPOINT }: S3): boolean => R2_S3_ENDPOINT !== ''

const clientOf = (settings: S3) =>
  new AwsClient({
    accessKeyId: settings.R2_S3_ACCESS_KEY_ID,
    secretAccessKey: settings.R2_S3_SECRET_ACCESS_KEY,
    service: 's3',
    region: 'auto',
    retries: 2,
  })

const urlOf = ({ R2_S3_ENDPOINT, R2_S3_BUCKET }: S3, key: string, query: Record<string, string> = {}) => {
  const url = new URL(`${R2_S3_ENDPOINT.replace(/\/$/, '')}/${R2_S3_BUCKET}/${key}`)
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  return url.href
}

/** A PUT that storage takes for so many seconds, with exactly these headers: the size and type are part of the signature. */
export async function presignPut(
  settings: S3,
  key: string,
  seconds: number,
  headers: Record<string, string>,
  query: Record<string, string> = {},
): Promise<string> {
  const url = urlOf(settings, key, { ...query, 'X-Amz-Expires': String(seconds) })
  const signed = await clientOf(settings).sign(url, {
    method: 'PUT',
    headers,
    aws: { signQuery: true, allHeaders: true },
  })
  return signed.url
}

/** Begins an upload in parts; its id. */
export async function startParts(settings: S3, key: string, contentType: string): Promise<string> {
  const answer = await ask(settings, 'POST', urlOf(settings, key, { uploads: '' }), undefined, {
    'Content-Type': contentType,
  })
  const id = /<UploadId>([^<]+)<\/UploadId>/.exec(await answer.text())?.[1]
  if (id === undefined) throw storageFailed('it began no upload')
  return id.replaceAll('&amp;', '&')
}

/** Joins parts to one object; null, or what storage said where it refused them. */
export async function completeParts(
  settings: S3,
  key: string,
  uploadId: string,
  parts: readonly { part_number: number; etag: string }[],
): Promise<string | null> {
  const list = parts
    .map(
      ({ part_number, etag }) =>
        `<Part><PartNumber>${part_number}</PartNumber><ETag>${escaped(etag)}</ETag></Part>`,
    )
    .join('')
  const body = `<CompleteMultipartUpload>${list}</CompleteMultipartUpload>`
  const answer = await fetched(settings, 'POST', urlOf(settings, key, { uploadId }), body)
  const said = await answer.text().catch((cause: unknown) => {
    throw storageFailed(cause)
  })
  // A failure can come with the status 200 (S3 API, CompleteMultipartUpload).
  return answer.ok && !said.includes('<Error>') ? null : said || `status ${answer.status}`
}

/** Gives parts up; one that is not known is given up already. */
export async function dropParts(settings: S3, key: string, uploadId: string): Promise<void> {
  if (!usesS3(settings)) return
  await ask(settings, 'DELETE', urlOf(settings, key, { uploadId })).catch((error: unknown) =>
    log.warn('parts_not_dropped', { key, cause: String(error) }),
  )
}

/** The answer; 503 where storage refused or could not be reached. */
async function ask(...request: Parameters<typeof fetched>): Promise<Response> {
  const answer = await fetched(...request)
  if (!answer.ok) throw storageFailed(`it answered ${answer.status}`)
  return answer
}

async function fetched(
  settings: S3,
  method: string,
  url: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<Response> {
  const init = { method, headers, ...(body === undefined ? {} : { body }) }
  return clientOf(settings)
    .fetch(url, init)
    .catch((cause: unknown) => {
      throw storageFailed(cause)
    })
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
