import type { Job } from '../../src/domains/jobs/schema'
import { upload } from '../files/kit'
import { endedJob } from '../jobs/kit'
import { callJson, type World } from '../world'

/** A knowledge base with these texts, by their file names. */
export async function knowing(world: World, texts: Record<string, string>, name = 'Help'): Promise<string> {
  const { token } = world.developer
  const made = await callJson<{ id: string }>('POST', '/api/v1/kb', { token, body: { name } })
  const file_ids: string[] = []
  for (const [filename, text] of Object.entries(texts))
    file_ids.push((await upload(world.developer, text, { filename, content_type: 'text/plain' })).id)
  const path = `/api/v1/kb/${made.data.id}/files/ingest`
  const job = await callJson<Job>('POST', path, { token, body: { file_ids } })
  if (job.status !== 202) throw new Error(JSON.stringify(job.error))
  const ended = await endedJob(world, job.data.id)
  if (ended.status !== 'completed') throw new Error(JSON.stringify(ended))
  return made.data.id
}
