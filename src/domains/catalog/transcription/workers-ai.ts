import { Buffer } from 'node:buffer'
import * as z from 'zod'
import type { Bindings } from '../../../env'
import { Problem, problem } from '../../../lib/problem'
import type { Asked, Recording, Transcriber, Transcript } from './transcriber'

// Cloudflare's Whisper, by the service's own binding: no address and no key. It tells no speakers apart.

const MODEL = '@cf/openai/whisper-large-v3-turbo'
/** A recording that it can't read (developers.cloudflare.com/workers-ai/platform/errors: 3006 and 5006 are the request's). */
const OF_REQUEST = /\b(?:3006|5006|8001)\b/

const Answer = z.object({
  text: z.string(),
  segments: z.array(z.object({ text: z.string(), start: z.number().catch(0) })).nullish(),
})

/** What Workers AI hears. */
export function workersAi({ AI }: Pick<Bindings, 'AI'>, model = MODEL): Transcriber {
  return async (recording, asked) => {
    if (!AI) throw problem('misconfigured', 'The service is misconfigured', { cause: 'AI is not bound' })
    const run = AI.run(model, inputOf(recording))
    try {
      return transcriptIn(await Promise.race([run, late(asked)]))
    } catch (error) {
      run.catch(() => {})
      if (error instanceof Problem) throw error
      throw refusalOf(error)
    }
  }
}

const inputOf = ({ bytes }: Recording) => ({ audio: Buffer.from(bytes.buffer).toString('base64') })

async function late({ until }: Asked): Promise<never> {
  await scheduler.wait(Math.max(1, until - Date.now()))
  throw problem('upstream_timeout', 'The transcriber took too long')
}

function transcriptIn(answered: unknown): Transcript {
  const answer = Answer.safeParse(answered)
  if (!answer.success) throw problem('upstream_failed', 'The transcriber answered what is no transcript')
  const { text, segments } = answer.data
  return { text: text.trim(), segments: (segments ?? []).map((one) => ({ ...one, speaker: null })) }
}

function refusalOf(cause: unknown): Problem {
  const said = cause instanceof Error ? cause.message : String(cause)
  if (OF_REQUEST.test(said))
    return problem.invalid({ audio: 'could not be transcribed: Workers AI refused it' })
  return problem('service_unavailable', 'Workers AI failed, or has no capacity', { cause })
}
