import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { type AudioKind, audioKind, extensionOf, HEAD_BYTES } from '../../../lib/audio-kind'
import { fromStorage } from '../../../lib/from-storage'
import { problem } from '../../../lib/problem'
import { keepBytes, retyped } from '../../files/keeping'
import { getReadyFile } from '../../files/service'
import { keyOf } from '../../files/store'
import type { FileRow } from '../../files/table'
import type { Recording } from '../transcription/transcriber'
import { MAX_AUDIO } from './audio'

/** What a file must be for to be a recording. */
const PURPOSE = 'audio'

/** A recording that is kept: its file, and what makes that stand with what is made of it. */
export type Taken = { file: FileRow; statements: Change<unknown>['statements']; isNew: boolean }

const NO_AUDIO = 'must be WAV, MP3, Ogg, WebM, M4A or FLAC: these bytes are none of them'

async function kindOf(bytes: Blob, field: string): Promise<AudioKind> {
  const kind = audioKind(new Uint8Array(await bytes.slice(0, HEAD_BYTES).arrayBuffer()))
  if (!kind) throw problem.invalid({ [field]: NO_AUDIO })
  return kind
}

/** Keeps a recording that came along. 422 where it is none, 409 beyond the storage once its row is committed. */
export async function takeSent(ctx: Context, audio: Blob): Promise<Taken> {
  const { type, extension } = await kindOf(audio, 'audio')
  const said = { filename: `recording.${extension}`, content_type: type, purpose: PURPOSE }
  return { ...(await keepBytes(ctx, said, audio)), isNew: true }
}

/** A recording that was uploaded before. 404, 409 `upload_incomplete`, 413 over 25 MiB, 422 where it is none. */
export async function takeUploaded(ctx: Context, id: string): Promise<Taken> {
  const file = await getReadyFile(ctx, id)
  if (file.purpose !== PURPOSE)
    throw problem.invalid({
      file_id: `must be of a file with the purpose ${PURPOSE}, and that is ${file.purpose}`,
    })
  if (file.size > MAX_AUDIO)
    throw problem('body_too_large', 'The recording is over its limit', {
      details: { limit_bytes: MAX_AUDIO, size_bytes: file.size },
    })
  const object = await fromStorage(
    ctx.env.FILES.get(keyOf(file), { range: { offset: 0, length: HEAD_BYTES } }),
  )
  if (!object) throw problem.notFound('file', id)
  const { type } = await kindOf(await object.blob(), 'file_id')
  return { file: { ...file, content_type: type }, statements: [retyped(ctx, id, type)], isNew: false }
}

/** The bytes of a recording, as transcribers take them. 404 where they are gone. */
export async function recordingOf({ env }: Pick<Context, 'env'>, file: FileRow): Promise<Recording> {
  const object = await fromStorage(env.FILES.get(keyOf(file)))
  if (!object) throw problem.notFound('file', file.id)
  const bytes = new Uint8Array(await fromStorage(object.arrayBuffer()))
  return { bytes, type: file.content_type, extension: extensionOf(file.content_type) }
}
