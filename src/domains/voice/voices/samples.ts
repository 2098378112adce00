import type { Context } from '../../../data/context'
import { audioKind, HEAD_BYTES } from '../../../lib/audio-kind'
import { Problem, problem } from '../../../lib/problem'
import { fileOf } from '../../files/keeping'
import { getReadyFile } from '../../files/service'
import { keyOf } from '../../files/store'
import type { FileRow } from '../../files/table'
import type { Sample } from './speech/speech'

/** What a file must be for to be a sample. */
export const SAMPLE_PURPOSE = 'voice_sample'
/** What providers take, and what fits an isolate while it is sent. */
const MOST_BYTES = 10 * 1024 * 1024
const MOST_IN_ALL = 20 * 1024 * 1024

/** Sees that these are samples of the caller's: complete, and sound by their bytes. 422 naming `file_ids.N`. */
export async function checkSamples(ctx: Context, fileIds: readonly string[]): Promise<void> {
  const files = await Promise.all(fileIds.map((id, i) => readable(ctx, id, `file_ids.${i}`)))
  if (files.reduce((sum, { size }) => sum + size, 0) > MOST_IN_ALL)
    throw problem.invalid({ file_ids: 'must have at most 20 MiB in all' })
}

async function readable(ctx: Context, id: string, field: string): Promise<FileRow> {
  const refuse = (message: string) => problem.invalid({ [field]: message })
  const file = await getReadyFile(ctx, id).catch((error: unknown) => {
    throw error instanceof Problem ? refuse(`must be a complete file: ${error.message}`) : error
  })
  if (file.purpose !== SAMPLE_PURPOSE)
    throw refuse(`must be of a file with the purpose ${SAMPLE_PURPOSE}, and that is ${file.purpose}`)
  if (file.size > MOST_BYTES) throw refuse('must have at most 10 MiB')
  const head = await ctx.env.FILES.get(keyOf(file), { range: { offset: 0, length: HEAD_BYTES } })
  if (!head) throw refuse('must be a complete file: its bytes are gone')
  if (!audioKind(new Uint8Array(await head.arrayBuffer())))
    throw refuse('must be WAV, MP3, Ogg, WebM, M4A or FLAC: these bytes are none of them')
  return file
}

/** The samples as they are sent; 404 where one was deleted meanwhile. Who asks has seen that they may be had. */
export function samplesOf(ctx: Context, fileIds: readonly string[]): Promise<Sample[]> {
  return Promise.all(
    fileIds.map(async (id, i) => {
      const file = await fileOf(ctx, id)
      const object = file && (await ctx.env.FILES.get(keyOf(file)))
      if (!object) throw problem.notFound('file', id)
      const bytes = await object.arrayBuffer()
      // Names and declared types are whatever a client made of them.
      const kind = audioKind(new Uint8Array(bytes, 0, Math.min(bytes.byteLength, HEAD_BYTES)))
      const type = kind?.type ?? 'application/octet-stream'
      return { filename: `sample-${i + 1}.${kind?.extension ?? 'bin'}`, bytes: new Blob([bytes], { type }) }
    }),
  )
}
