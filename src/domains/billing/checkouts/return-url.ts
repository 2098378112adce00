import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'

/** In production nobody is sent away over plain http; 422. */
export function refuseInsecure({ settings }: Context, urls: Record<string, string | undefined>): void {
  if (settings.ENVIRONMENT !== 'production') return
  for (const [name, url] of Object.entries(urls))
    if (url?.toLowerCase().startsWith('http:')) throw problem.invalid({ [name]: 'must be https' })
}
