import * as z from 'zod'
import type { ProviderAnswer, ProviderRequest } from '../../../../lib/provider-fetch'
import { type Asking, answerOf, answerTo } from '../../answer'
import { refused, spoken } from './answers'
import type { CloneOf, Sample, Speech } from './speech'

// ElevenLabs, and servers of its protocol (elevenlabs.io/docs/api-reference).

const MODEL = 'eleven_multilingual_v2'
/** Samples are sent, and heard, while it is waited. */
const CLONING_MS = 60_000
const MOST_SPOKEN = 4 * 1024 * 1024
const MOST_LISTED = 4 * 1024 * 1024
/** A server that always has another page is not followed for ever: a search finds a tenant’s clones, which are few. */
const MOST_PAGES = 50
/** Longer names it does not take. */
const MOST_NAME = 100
/** Under these labels a clone says whose it is. */
const TENANT = 'causeway_tenant'
const VOICE = 'causeway_voice'

const Voice = z.object({
  voice_id: z.string().min(1),
  category: z.string().nullish(),
  is_owner: z.boolean().nullish(),
  labels: z.record(z.string(), z.unknown()).nullish(),
})
const Listed = z.object({
  voices: z.array(Voice),
  has_more: z.boolean().nullish(),
  next_page_token: z.string().nullish(),
})
const Made = z.object({ voice_id: z.string().min(1) })

/** Categories of voices that somebody made for themselves. */
const OF_ONE = ['cloned', 'generated']

export function elevenlabs(at: Asking): Speech {
  const ask = (request: ProviderRequest) => answerTo(at, signed(at, request))
  const clones: Speech['clones'] = async ({ tenant_id, voice_id }) => {
    const found: string[] = []
    let token: string | null | undefined = ''
    for (let pages = 0; pages < MOST_PAGES && token !== null && token !== undefined; pages++) {
      const query = new URLSearchParams({ search: voice_id ?? tenant_id, page_size: '100' })
      if (token !== '') query.set('next_page_token', token)
      const page: z.output<typeof Listed> = await answerOf(
        at,
        signed(at, { path: `/v2/voices?${query}`, most: MOST_LISTED }),
        Listed,
      )
      for (const { voice_id: id, labels } of page.voices)
        if (labels?.[TENANT] === tenant_id && (voice_id === undefined || labels[VOICE] === voice_id))
          found.push(id)
      token = page.has_more ? page.next_page_token : null
    }
    return found
  }
  return {
    clones,
    look: async (id) => {
      const answer = await ask({ path: voicePath(id), meant: [400, 404, 422] })
      if (answer.status >= 400) return null
      const voice = Voice.safeParse(answer.body)
      if (!voice.success || voice.data.voice_id !== id) return null
      const { category, labels, is_owner } = voice.data
      const isOfOne = is_owner === true || OF_ONE.includes(category ?? '') || labels?.[TENANT] !== undefined
      return { shared: !isOfOne }
    },
    clone: async (of, name, samples) => {
      const request = { method: 'POST', path: '/v1/voices/add', body: formOf(of, name, samples) } as const
      return (await answerOf(at, signed(at, { ...request, ...CLONING }), Made)).voice_id
    },
    remove: async (id) => {
      const answer = await ask({ method: 'DELETE', path: voicePath(id), meant: [400, 404] })
      if (answer.status === 400 && !isGone(answer)) throw refused(at.account, answer)
    },
    speak: async (id, text) => {
      const answer = await ask({
        ...{
          method: 'POST',
          path: `/v1/text-to-speech/${encodeURIComponent(id)}?output_format=mp3_44100_128`,
        },
        ...{ json: { text, model_id: at.account.options.model ?? MODEL }, as: 'bytes', most: MOST_SPOKEN },
        headers: { Accept: 'audio/mpeg' },
      })
      return spoken(at.account, answer)
    },
  }
}

/** A second try would make a second clone; the job looks whether the first did before it tries again. */
const CLONING = { once: true, timeout_ms: CLONING_MS } as const

const signed = ({ account }: Asking, request: ProviderRequest): ProviderRequest => ({
  ...request,
  headers: { ...request.headers, 'xi-api-key': account.api_key },
})

const voicePath = (id: string): string => `/v1/voices/${encodeURIComponent(id)}`

function formOf({ tenant_id, voice_id }: CloneOf, name: string, samples: readonly Sample[]): FormData {
  const form = new FormData()
  form.set('name', name.slice(0, MOST_NAME))
  form.set('labels', JSON.stringify({ [TENANT]: tenant_id, [VOICE]: voice_id }))
  for (const { filename, bytes } of samples) form.append('files', bytes, filename)
  return form
}

/** It is 400 with a word of it for a voice that is not there. */
const isGone = ({ body }: ProviderAnswer): boolean =>
  /not_?(?:found|exist)/.test(JSON.stringify((body as { detail?: unknown } | null)?.detail ?? ''))
