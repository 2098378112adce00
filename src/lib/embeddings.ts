import * as z from 'zod'
import type { Settings, WorkersAi } from '../env'

/** What models of Workers AI that make vectors of texts answer. */
const Answer = z.object({ data: z.array(z.array(z.number()).min(1)) })

/** The vector that a model of Workers AI makes of each text. Throws where it fails, or leaves one out. */
export async function embeddingsOf(
  ai: WorkersAi,
  { EMBEDDING_MODEL }: Pick<Settings, 'EMBEDDING_MODEL'>,
  texts: readonly string[],
): Promise<number[][]> {
  const { data } = Answer.parse(await ai.run(EMBEDDING_MODEL, { text: texts }))
  if (data.length !== texts.length) throw new Error(`answered ${data.length} of ${texts.length} embeddings`)
  return data
}
