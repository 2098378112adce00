import { env } from 'cloudflare:workers'
import { createHash, createHmac } from 'node:crypto'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Context } from '../../src/data/context'
import { presignFiles } from '../../src/domains/files/presign'
import { completeFile, deleteFile } from '../../src/domains/files/service'
import { type Bindings, settingsOf } from '../../src/env'
import { makeWorld, type World } from '../world'

// Storage by its S3 API: a server of the test's own that checks signatures by the specification (AWS Signature Version 4),
// and keeps what it takes in the bucket that the service reads.

const KEY = 'AKIATEST'
const SECRET = 'secret/of+the/tests'
const S3 = {
  R2_S3_ENDPOINT: 'https://account.r2.cloudflarestorage.com',
  R2_S3_BUCKET: 'causeway-files',
  R2_S3_ACCESS_KEY_ID: KEY,
  R2_S3_SECRET_ACCESS_KEY: SECRET,
}

let world: World
let ctx: Context
let deferred: Promise<unknown>[] = []
beforeAll(async () => {
  world = await makeWorld({ plan: 'enterprise' })
  ctx = {
    ...world.ctx,
    settings: { ...world.ctx.settings, ...S3 },
    defer: (work) => void deferred.push(work),
  }
})
afterEach(() => {
  vi.unstubAllGlobals()
  deferred = []
})

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
const hash = (text: string) => createHash('sha256').update(text).digest('hex')
const strict = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

/** Whether a request is signed as it is: the signature is of its method, path, query, and the headers that it names. */
function isSigned(request: Request, now: number): boolean {
  const url = new URL(request.url)
  const [, credential = '', names = '', signature = ''] =
    /Credential=([^,]+), SignedHeaders=([^,]+), Signature=(\w+)/.exec(
      request.headers.get('Authorization') ?? '',
    ) ?? []
  const inQuery = url.searchParams.has('X-Amz-Signature')
  const said = (name: string) => url.searchParams.get(`X-Amz-${name}`) ?? ''
  const scope = (inQuery ? said('Credential') : credential).split('/')
  const date = inQuery ? said('Date') : (request.headers.get('X-Amz-Date') ?? '')
  const signed = (inQuery ? said('SignedHeaders') : names).split(';')
  const given = inQuery ? said('Signature') : signature
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  if (scope[0] !== KEY || (inQuery && now > at + Number(said('Expires')) * 1000)) return false
  const query = [...url.searchParams]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map((pair) => pair.map(strict).join('='))
    .sort()
    .join('&')
  const headers = signed
    .map((name) => `${name}:${name === 'host' ? url.host : request.headers.get(name)}\n`)
    .join('')
  const path = url.pathname
    .split('/')
    .map((part) => strict(decodeURIComponent(part)))
    .join('/')
  const payload = inQuery ? 'UNSIGNED-PAYLOAD' : (request.headers.get('X-Amz-Content-Sha256') ?? '')
  const canonical = [request.method, path, query, headers, signed.join(';'), payload].join('\n')
  const text = ['AWS4-HMAC-SHA256', date, scope.slice(1).join('/'), hash(canonical)].join('\n')
  const key = scope.slice(1).reduce<string | Buffer>((one, part) => hmac(one, part), `AWS4${SECRET}`)
  return hmac(key, text).toString('hex') === given
}

const keyIn = (url: string) => new URL(url).pathname.replace(`/${S3.R2_S3_BUCKET}/`, '')

/** What storage does with a PUT by a presigned URL. */
async function put(
  url: string,
  bytes: Uint8Array<ArrayBuffer>,
  headers: Record<string, string>,
  now = Date.now(),
) {
  const request = new Request(url, {
    method: 'PUT',
    headers: { 'Content-Length': String(bytes.length), ...headers },
  })
  if (!isSigned(request, now)) return 403
  await env.FILES.put(keyIn(url), bytes, { httpMetadata: { contentType: headers['Content-Type'] ?? '' } })
  return 200
}

const bytes = (length: number) => new Uint8Array(length).fill(7)

describe('with S3 credentials', () => {
  it('bytes go straight to storage, of the size and type that were said, for fifteen minutes', async () => {
    const said = { filename: 'a b.txt', content_type: 'text/plain', size: 5 }
    const { url, headers, file_id = '' } = await presignFiles(ctx, said)
    expect(url?.startsWith(`${S3.R2_S3_ENDPOINT}/causeway-files/${world.tenant.id}/files/${file_id}?`)).toBe(
      true,
    )
    const given = url ?? ''
    expect(Number(new URL(given).searchParams.get('X-Amz-Expires'))).toBeLessThanOrEqual(900)
    expect(Number(new URL(given).searchParams.get('X-Amz-Expires'))).toBeGreaterThan(890)
    for (const [wrong, size, type] of [
      [given, 6, 'text/plain'],
      [given, 5, 'text/html'],
      [given.replace(file_id, crypto.randomUUID()), 5, 'text/plain'],
      [given.replace(/X-Amz-Expires=\d+/, 'X-Amz-Expires=9000'), 5, 'text/plain'],
    ] as const)
      expect(await put(wrong, bytes(size), { 'Content-Type': type })).toBe(403)
    expect(await put(given, bytes(5), headers ?? {}, Date.now() + 16 * 60_000)).toBe(403)
    await expect(completeFile(ctx, file_id, {})).rejects.toMatchObject({ code: 'upload_incomplete' })
    expect(await put(given, bytes(5), headers ?? {})).toBe(200)
    expect(await completeFile(ctx, file_id, {})).toMatchObject({ status: 'ready', size: 5 })
  })

  it('an upload in parts is begun, joined and given up there', async () => {
    const asked: string[] = []
    const uploads = new Map<string, R2MultipartUpload>()
    vi.stubGlobal('fetch', async (input: Request) => {
      const url = new URL(input.url)
      const id = url.searchParams.get('uploadId')
      asked.push(`${input.method} ${id === null ? 'uploads' : 'uploadId'}`)
      if (!isSigned(input, Date.now())) return new Response('<Error/>', { status: 403 })
      const key = keyIn(input.url)
      if (id === null) {
        const contentType = input.headers.get('Content-Type') ?? ''
        const upload = await env.FILES.createMultipartUpload(key, { httpMetadata: { contentType } })
        uploads.set(`id&${upload.uploadId}`, upload)
        return new Response(`<X><UploadId>id&amp;${upload.uploadId}</UploadId></X>`)
      }
      const upload = uploads.get(id)
      if (!upload) return new Response('<Error/>', { status: 404 })
      if (input.method === 'DELETE') return upload.abort().then(() => new Response(null, { status: 204 }))
      const parts = [
        ...(await input.text()).matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]+)<\/ETag>/g),
      ].map(([, number, etag = '']) => ({ partNumber: Number(number), etag: etag.replaceAll('"', '') }))
      // A failure after the first byte of the answer was sent.
      return upload.complete(parts).then(
        () => new Response('<CompleteMultipartUploadResult/>'),
        () => new Response('<Error><Code>InvalidPart</Code></Error>'),
      )
    })
    const size = 101 * 1024 ** 2
    const said = { filename: 'big', content_type: 'application/zip', size }
    const { url, parts, file_id = '' } = await presignFiles(ctx, said)
    expect([url, parts?.map((part) => part.size)]).toEqual([null, [64 * 1024 ** 2, 37 * 1024 ** 2]])
    const named = []
    for (const part of parts ?? []) {
      const { searchParams } = new URL(part.url)
      const headers = { 'Content-Length': String(part.size) }
      expect(isSigned(new Request(part.url, { method: 'PUT', headers }), Date.now())).toBe(true)
      expect(searchParams.get('partNumber')).toBe(String(part.part_number))
      const upload = uploads.get(searchParams.get('uploadId') ?? '')
      const sent = await upload?.uploadPart(part.part_number, bytes(part.size))
      named.push({ part_number: part.part_number, etag: `"${sent?.etag}"` })
    }
    const wrong = named.map((one) => ({ ...one, etag: '"none"' }))
    await expect(completeFile(ctx, file_id, { parts: wrong })).rejects.toMatchObject({
      code: 'validation_failed',
    })
    expect(await completeFile(ctx, file_id, { parts: named })).toMatchObject({ status: 'ready', size })
    const left = await presignFiles(ctx, said)
    await deleteFile(ctx, left.file_id ?? '')
    await Promise.all(deferred)
    expect(asked).toEqual([
      'POST uploads',
      'POST uploadId',
      'POST uploadId',
      'POST uploads',
      'DELETE uploadId',
    ])
    // One that is refused leaves nothing behind.
    asked.length = 0
    const full = { ...ctx, tenant: { ...ctx.tenant, rate_limits: { storage_bytes: 1 } } }
    await expect(presignFiles(full, said)).rejects.toMatchObject({ code: 'storage_limit_reached' })
    await Promise.all(deferred)
    expect(asked).toEqual(['POST uploads', 'DELETE uploadId'])
    await deleteFile(ctx, file_id)
    await Promise.all(deferred)
  }, 60_000)

  it('a failure of storage is not the client’s: 503, and the same goes well afterwards', async () => {
    const size = 101 * 1024 ** 2
    const said = { filename: 'big', content_type: 'application/zip', size }
    const asked: string[] = []
    const answers: (Response | Error)[] = []
    vi.stubGlobal('fetch', async (input: Request) => {
      asked.push(input.method)
      if (input.method === 'DELETE') return new Response(null, { status: 204 })
      const answer = answers.shift() ?? new Response('<X><UploadId>one</UploadId></X>')
      if (answer instanceof Error) throw answer
      return answer
    })
    const { file_id = '', parts } = await presignFiles(ctx, said)
    const named = (parts ?? []).map(({ part_number }) => ({ part_number, etag: '"e"' }))
    const failed = (code: string) => new Response(`<Error><Code>${code}</Code></Error>`)
    for (const failure of [
      () => failed('InternalError'),
      () => new Error('the network is gone'),
      () => new Response('<Error><Code>AccessDenied</Code></Error>', { status: 403 }),
    ]) {
      answers.push(failure())
      await expect(completeFile(ctx, file_id, { parts: named })).rejects.toMatchObject({
        code: 'service_unavailable',
      })
    }
    answers.push(failed('InvalidPart'))
    await expect(completeFile(ctx, file_id, { parts: named })).rejects.toMatchObject({
      code: 'validation_failed',
    })
    // Of several, what had begun is given up.
    asked.length = 0
    answers.push(new Response('<X><UploadId>two</UploadId></X>'), new Error('the network is gone'))
    await expect(presignFiles(ctx, { files: [said, said] as never })).rejects.toMatchObject({
      code: 'service_unavailable',
    })
    await Promise.all(deferred)
    expect(asked).toEqual(['POST', 'POST', 'DELETE'])
  })

  it('all of its settings are set, or none', () => {
    const { R2_S3_BUCKET: _, ...some } = S3
    const bindings = env as unknown as Bindings
    expect(() => settingsOf({ ...bindings, ...some } as Bindings)).toThrow(/misconfigured/)
    expect(settingsOf({ ...bindings, ...S3 } as Bindings).R2_S3_BUCKET).toBe('causeway-files')
  })
})
