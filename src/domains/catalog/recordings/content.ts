import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { fileOf } from '../../files/keeping'
import type { FileRow } from '../../files/table'
import { findInteraction } from '../interactions/service'

/** The file of an interaction's recording, for who may read the interaction; 404 where it has none. */
export async function getRecording(ctx: Context, id: string): Promise<FileRow> {
  const { audio_file_id } = await findInteraction(ctx, id)
  const file = audio_file_id === null ? null : await fileOf(ctx, audio_file_id)
  if (!file) throw problem.notFound('recording', id)
  return file
}
