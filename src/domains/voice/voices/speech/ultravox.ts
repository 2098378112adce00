import * as z from 'zod'
import { isUuid } from '../../../../lib/ids'
import { problem } from '../../../../lib/problem'
import type { ProviderRequest } from '../../../../lib/provider-fetch'
import { type Asking, answerIfAny, answerTo } from '../../answer'
import { refused, spoken } from './answers'
import type { Speech } from './speech'

// Ultravox’s own voices (docs.ultravox.ai/api-reference/voices): its agents speak with them, and they can be heard.

const MOST_SPOKEN = 4 * 1024 * 1024

const Voice = z.object({ voiceId: z.string(), ownership: z.string().nullish() })

const voicePath = (id: string): string => `/api/voices/${encodeURIComponent(id)}`

export function ultravox(at: Asking): Speech {
  const ask = (request: ProviderRequest): ProviderRequest => ({
    ...request,
    headers: { ...request.headers, 'X-API-Key': at.account.api_key },
  })
  const never = () => problem('provider_refused', 'Voices are not cloned by Ultravox')
  return {
    look: async (id) => {
      const voice = isUuid(id) ? await answerIfAny(at, ask({ path: voicePath(id) }), Voice) : null
      return voice && { shared: voice.ownership === 'public' }
    },
    // Its API takes one sample and keeps no word of whose a clone is.
    clones: async () => [],
    clone: () => Promise.reject(never()),
    remove: () => Promise.reject(never()),
    speak: async (id) => {
      const sample = { as: 'bytes', most: MOST_SPOKEN, headers: { Accept: 'audio/*' } } as const
      const answer = await answerTo(at, ask({ ...sample, path: `${voicePath(id)}/preview`, meant: [302] }))
      if (answer.status !== 302) return spoken(at.account, answer)
      // Where its sample is. The key does not go there.
      const to = answer.headers.get('Location') ?? ''
      if (!URL.canParse(to, at.account.base_url)) throw refused(at.account, answer)
      const { origin, pathname, search } = new URL(to, at.account.base_url)
      const there = { ...at, account: { ...at.account, base_url: origin, own: true } }
      return spoken(at.account, await answerTo(there, { ...sample, path: `${pathname}${search}` }))
    },
  }
}
