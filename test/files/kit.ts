import { call, callJson, type Person } from '../world'

export type Upload = {
  file_id: string
  method: string
  url: string | null
  headers: Record<string, string>
  parts: { part_number: number; url: string; size: number }[] | null
  expires_at: string
}

export type Shown = {
  id: string
  user_id: string | null
  filename: string
  content_type: string
  size: number
  purpose: string
  status: string
  expires_at: string | null
}

export const PNG = Uint8Array.from(
  atob('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='),
  (char) => char.charCodeAt(0),
)

type Said = { filename?: string; content_type?: string; size?: number; purpose?: string }

/** Says which file will come. */
export function presign(person: Pick<Person, 'token'>, said: Said) {
  const body = { filename: 'a.txt', content_type: 'text/plain', size: 5, ...said }
  return callJson<Upload>('POST', '/api/v1/files/presign', { token: person.token, body })
}

/** The path of one of the service's own URLs. */
export const pathOf = (url: string | null): string => {
  const { pathname, search } = new URL(url ?? 'http://localhost:8787/none')
  return pathname + search
}

/** Sends bytes where they were asked for. */
export function put(
  url: string | null,
  bytes: BodyInit | Uint8Array<ArrayBuffer>,
  headers: Record<string, string>,
) {
  const size = typeof bytes === 'string' ? bytes.length : (bytes as Uint8Array).byteLength
  return call('PUT', pathOf(url), {
    raw: bytes as BodyInit,
    headers: { 'Content-Length': String(size), ...headers },
  })
}

export const complete = (person: Pick<Person, 'token'>, id: string, body: object = {}) =>
  callJson<Shown>('POST', `/api/v1/files/${id}/complete`, { token: person.token, body })

/** A file of somebody’s that is there to be read. */
export async function upload(
  person: Pick<Person, 'token'>,
  bytes: Uint8Array<ArrayBuffer> | string,
  said: Said = {},
): Promise<Shown> {
  const raw = typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes
  const { status, data, error } = await presign(person, { size: raw.byteLength, ...said })
  if (status !== 201) throw new Error(JSON.stringify(error))
  const sent = await put(data.url, raw as Uint8Array<ArrayBuffer>, data.headers)
  if (sent.status !== 200) throw new Error(await sent.text())
  const done = await complete(person, data.file_id)
  if (done.status !== 200) throw new Error(JSON.stringify(done.error))
  return done.data
}
