import type { Context } from '../../../data/context'
import { erasedWithTenant } from '../../../data/erasure'
import { settingsOf } from '../../../env'
import { describeError, log } from '../../../lib/log'
import { Problem } from '../../../lib/problem'
import { type Due, jobKind, type Step } from '../../jobs/kinds'
import { operatorsProvider } from '../../providers/kinds'
import { accountOf } from './account'
import { previewsOf } from './preview-key'
import { speechOf } from './speech/choose'
import type { VoiceRow } from './table'

// What is left of a voice once its row is gone: a clone at its provider, and sound that was kept of it.

type Input = Pick<VoiceRow, 'kind' | 'provider' | 'own' | 'provider_voice_id'> & { voice_id: string }
type State = { since: number; tries: number }

/** A provider that is away is asked again for so long. */
const PATIENCE_MS = 3 * 24 * 3600_000
const FIRST_WAIT_MS = 2_000
const LONGEST_WAIT_MS = 3600_000

export const removing = jobKind<Input, State>({
  name: 'voices.remove',
  scope: 'voices:write',
  step: stepOf,
})

/** The first step, at once. */
export const toRemove = (ctx: Context): Step<State> => ({
  ...{ state: { since: ctx.now, tries: 0 }, progress: 0, result: {}, done: false },
})

async function stepOf(ctx: Context, { input, state }: Due<Input, State>): Promise<Step<State>> {
  const over = { state, progress: 100, done: true }
  try {
    await dropPreviews(ctx, input.voice_id)
    if (input.kind === 'clone') await removeClone(ctx, input)
    return { ...over, result: { removed: true } }
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    // Where the account is not set up any more there is nobody to ask.
    const hopeless = error.code === 'provider_not_configured' || Date.now() - state.since > PATIENCE_MS
    if (hopeless) return { ...over, result: { removed: false, error: error.message } }
    const wait_ms = Math.min(FIRST_WAIT_MS * 2 ** state.tries, LONGEST_WAIT_MS)
    return {
      ...{ state: { ...state, tries: state.tries + 1 }, progress: 50, done: false, wait_ms },
      result: { removed: false, error: error.message },
    }
  }
}

async function dropPreviews(ctx: Context, voiceId: string): Promise<void> {
  const { objects } = await ctx.env.FILES.list({ prefix: previewsOf(ctx.tenant.id, voiceId) })
  if (objects.length > 0) await ctx.env.FILES.delete(objects.map(({ key }) => key))
}

async function removeClone(ctx: Context, { voice_id, provider_voice_id, ...of }: Input): Promise<void> {
  const speech = speechOf(ctx, await accountOf(ctx, of))
  const ids =
    provider_voice_id === null
      ? await speech.clones({ tenant_id: ctx.tenant.id, voice_id })
      : [provider_voice_id]
  for (const id of ids) await speech.remove(id)
}

// The clones that the operator’s account has of a tenant go with it, whether a row still names them or not; those in an
// account of its own are its own.
erasedWithTenant({
  name: 'voice_clones',
  keys: async ({ settings }, after) =>
    after === '' && operatorsProvider(settings, 'tts')?.name === 'elevenlabs' ? ['clones'] : [],
  erase: async (env, tenantId) => {
    const settings = settingsOf(env)
    const account = operatorsProvider(settings, 'tts')
    if (!account) return
    const speech = speechOf({ settings, traceparent: traceOf(tenantId) }, account)
    try {
      for (const id of await speech.clones({ tenant_id: tenantId })) await speech.remove(id)
    } catch (error) {
      // A key that is refused for good must not keep the tenant from going.
      if (!(error instanceof Problem) || error.code !== 'provider_refused') throw error
      log.error('voice_clones_left', { tenant_id: tenantId, cause: describeError(error) })
    }
  },
})

const traceOf = (tenantId: string): string => `00-${tenantId.replaceAll('-', '')}-${'0'.repeat(15)}1-00`
