import * as z from 'zod'
import type { Settings } from '../../../env'
import { echoesOf, withoutEchoes } from '../../../lib/echo'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { Problem, problem } from '../../../lib/problem'
import { type Provider, retryAfterMs } from '../../../lib/provider-fetch'
import { refusalOfUrl } from '../../../lib/safe-url'
import type { Asked, Recording, Transcriber, Transcript } from './transcriber'

// POST {base_url}/v1/audio/transcriptions, as OpenAI has it and faster-whisper, whisper.cpp, vLLM and others do.

/** An hour of speech has some 60 kB of text; with times for each word some ten times that. */
const MOST_BYTES = 8 * 1024 * 1024
const TRIES = 3
const FIRST_WAIT_MS = 500
/** The most of the server's own words that a caller is told. */
const MOST_SAID = 200

const Answer = z.object({
  text: z.string(),
  segments: z
    .array(z.object({ text: z.string(), start: z.number().catch(0), speaker: z.coerce.string().nullish() }))
    .nullish(),
})

/** What such a server hears. One that is busy, or failed, is asked again while there is time. */
export function openai(settings: Settings, account: Provider): Transcriber {
  return async (recording, asked) => {
    for (let tries = 1; ; tries++) {
      try {
        return await ask(settings, account, recording, asked)
      } catch (error) {
        const wait = error instanceof Busy ? Math.max(error.waitMs, FIRST_WAIT_MS * 2 ** (tries - 1)) : null
        if (wait === null || tries === TRIES || Date.now() + wait >= asked.until)
          throw error instanceof Busy ? error.refusal : error
        await scheduler.wait(wait)
      }
    }
  }
}

/** Another try may succeed, not earlier than it says. */
class Busy extends Error {
  constructor(
    readonly refusal: Problem,
    readonly waitMs: number,
  ) {
    super(refusal.message)
  }
}

async function ask(
  settings: Settings,
  account: Provider,
  recording: Recording,
  asked: Asked,
): Promise<Transcript> {
  const { api_key, options } = account
  const url = urlOf(account.base_url)
  await admitTarget(settings, account, url)
  const signal = AbortSignal.timeout(Math.max(1, asked.until - Date.now()))
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        traceparent: asked.traceparent,
        ...(api_key === '' ? {} : { Authorization: `Bearer ${api_key}` }),
      },
      body: formOf(options.model ?? 'whisper-1', recording),
      redirect: 'manual',
      signal,
    })
    const text = await textOf(response)
    if (response.status !== 200) throw refusalOf(account, response, text)
    return transcriptIn(text)
  } catch (error) {
    if (error instanceof Problem || error instanceof Busy) throw error
    if (signal.aborted) throw problem('upstream_timeout', 'The transcriber took too long', { cause: error })
    throw new Busy(problem('upstream_failed', 'The transcriber can’t be reached', { cause: error }), 0)
  }
}

/** A tenant's own may be where its URLs may lead. */
async function admitTarget(settings: Settings, { own }: Provider, url: string): Promise<void> {
  const refusal = own ? await refusalOfUrl(url, settings) : null
  if (refusal !== null)
    throw problem('provider_refused', `The base_url of your transcriber ${refusal}`, {
      details: { provider: 'openai', status: null, said: null },
    })
}

/** Where the protocol's path is, whether the setting names the server or that. */
const urlOf = (base: string): string =>
  `${base.replace(/\/(?:v1\/?)?(?:audio\/transcriptions\/?)?$/, '')}/v1/audio/transcriptions`

/** Models differ in what they answer (platform.openai.com/docs/api-reference/audio/createTranscription). */
function formOf(model: string, { bytes, type, extension }: Recording): FormData {
  const form = new FormData()
  form.set('file', new File([bytes], `audio.${extension}`, { type }))
  form.set('model', model)
  if (/diarize/.test(model)) {
    form.set('response_format', 'diarized_json')
    // Without it nothing over 30 seconds is taken.
    form.set('chunking_strategy', 'auto')
  } else form.set('response_format', /^gpt-4o/.test(model) ? 'json' : 'verbose_json')
  return form
}

async function textOf(response: Response): Promise<string> {
  const decoder = new TextDecoder()
  let [text, size] = ['', 0]
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > MOST_BYTES)
      throw problem('upstream_failed', 'The transcriber answered more than could be said')
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

function refusalOf(account: Provider, { status, headers }: Response, said: string): Problem | Busy {
  const text = withoutEchoes(said, echoesOf([account.api_key]))
  log.warn('transcriber_refused', { status, answer: text.slice(0, MOST_SAID) })
  if (status === 400 || status === 413 || status === 415 || status === 422)
    return problem.invalid({ audio: `could not be transcribed: ${saidIn(text)}` })
  const busy = status === 429 || status >= 500
  if (!busy) return refusedOf(account, status)
  const refusal = problem('service_unavailable', `The transcriber has no capacity or failed (${status})`)
  return new Busy(refusal, retryAfterMs(headers.get('Retry-After')))
}

/** Whose key it is can do something about it. */
const refusedOf = ({ own }: Provider, status: number): Problem =>
  own
    ? problem('provider_refused', `Your transcriber refused your key (${status})`, {
        details: { provider: 'openai', status, said: null },
      })
    : problem('upstream_failed', `The transcriber refused the service itself (${status})`)

function saidIn(text: string): string {
  const said = z.object({ error: z.object({ message: z.string() }) }).safeParse(jsonIn(text))
  const words = said.success ? said.data.error.message : 'the transcriber refused it'
  return words.replace(/\s+/g, ' ').slice(0, MOST_SAID)
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function transcriptIn(text: string): Transcript {
  const answer = Answer.safeParse(jsonIn(text))
  if (!answer.success) {
    log.warn('transcriber_nonsense', { cause: describeError(answer.error), at: iso(Date.now()) })
    throw problem('upstream_failed', 'The transcriber answered what is no transcript')
  }
  const { segments } = answer.data
  return {
    text: answer.data.text.trim(),
    segments: (segments ?? []).map(({ speaker, ...one }) => ({ ...one, speaker: speaker || null })),
  }
}
