import { callProvider } from '../calls/port'
import { accountsOf, areGone, servedBy } from './accounts'
import { callerNumber } from './numbers'
import { findPlaced, start } from './placing'
import { recordingFrom } from './recording'
import { end, look } from './standing'
import './incoming'
import './keeper'

/** Agents that Ultravox has speak on lines that Telnyx dials. */
callProvider({
  name: 'ultravox',
  serves: servedBy,
  callerNumber,
  refusal: async (_ctx, agent) => {
    if (agent.kind !== 'ultravox') return 'must be an agent of the kind ultravox: Ultravox places these calls'
    if (agent.sync_status !== 'failed') return null
    return `must be one that Ultravox takes; it said: ${agent.sync_error ?? 'no more than that'}`
  },
  start,
  find: findPlaced,
  look,
  end,
  recording: async (ctx, call) => {
    if (await areGone(ctx, call)) return 'none'
    return recordingFrom((await accountsOf(ctx, call)).ultravox, call)
  },
})
