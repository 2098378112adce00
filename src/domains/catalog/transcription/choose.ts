import type { Context } from '../../../data/context'
import { providerOf } from '../../providers/choose'
import { openai } from './openai'
import { simulated } from './simulated'
import type { Transcriber } from './transcriber'
import { workersAi } from './workers-ai'

/** The tenant's own transcriber, or the one that the settings name; null where there is none. 409 where its own can't be used. */
export async function transcriberOf(ctx: Context): Promise<Transcriber | null> {
  const account = await providerOf(ctx, 'transcriber')
  if (!account) return null
  switch (account.name) {
    case 'workers_ai':
      return workersAi(ctx.env, account.options.model)
    case 'simulated':
      return simulated
    default:
      return openai(ctx.settings, account)
  }
}
