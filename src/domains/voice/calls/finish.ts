import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { keepBytes } from '../../files/keeping'
import type { CallChange } from './change'
import type { CallProvider, CallReport } from './port'
import type { CallRow } from './table'

/** How often a recording is asked for that is not there yet: for some two hours. */
const MOST_TRIES = 20
const FIRST_WAIT_MS = 2_000
const LONGEST_WAIT_MS = 10 * 60_000

/** What is left to do for a call that has ended: hanging up, the rest of what was said, the recording. */
export async function finish(ctx: Context, call: CallRow, provider: CallProvider): Promise<CallChange> {
  const known = call.hang_up ? await hungUp(ctx, call, provider) : call
  if (known.recording !== 'pending')
    return { call, set: { ...idsOf(known), hang_up: false, next_at: null, failures: 0 } }
  const report: CallReport = { turns: (await provider.look(ctx, known))?.turns ?? [] }
  const recording = await provider.recording(ctx, known)
  if (recording === 'later') {
    const wait = Math.min(FIRST_WAIT_MS * 2 ** call.failures, LONGEST_WAIT_MS)
    const set: Partial<CallRow> =
      call.failures + 1 < MOST_TRIES
        ? { failures: call.failures + 1, next_at: iso(ctx.now + wait) }
        : { recording: 'none', next_at: null }
    return { call, report, set: { ...idsOf(known), hang_up: false, ...set } }
  }
  const done = { ...idsOf(known), hang_up: false, next_at: null, failures: 0 }
  if (recording === 'none') return { call, report, set: { ...done, recording: 'none' } }
  const { bytes, content_type } = recording
  const filename = `call-${call.id}.${EXTENSIONS[content_type] ?? 'bin'}`
  const kept = await keepBytes(ctx, { filename, content_type, purpose: 'call_recording' }, bytes)
  return {
    ...{ call, report, statements: kept.statements },
    set: { ...done, recording: 'kept', recording_file_id: kept.file.id },
  }
}

const EXTENSIONS: Record<string, string> = {
  ...{
    'audio/wav': 'wav',
    'audio/mpeg': 'mp3',
    'audio/mp3': 'mp3',
    'audio/ogg': 'ogg',
    'audio/webm': 'webm',
  },
}

const idsOf = ({ provider_call_id, carrier_call_id }: CallRow) => ({ provider_call_id, carrier_call_id })

/** Has the provider hang up what was ended here, also what it placed without our having heard of it. */
async function hungUp(ctx: Context, call: CallRow, provider: CallProvider): Promise<CallRow> {
  const placed = call.provider_call_id === null ? await provider.find(ctx, call) : null
  if (call.provider_call_id === null && !placed) return call
  const known = placed ? { ...call, ...placedIds(placed) } : call
  await provider.end(ctx, known)
  return known
}

const placedIds = ({ provider_call_id, carrier_call_id = null }: CallIds) => ({
  provider_call_id,
  carrier_call_id,
})
type CallIds = { provider_call_id: string; carrier_call_id?: string | null }
