import { murmur } from '../../../../lib/wav'
import type { Speech } from './speech'

/** The voices that everybody has, to try things without a service. */
export const SIMULATED_VOICES = ['ava', 'ben', 'chloe', 'daniel', 'emma']

/** Sound for a text: as long as somebody would take to say it. */
const secondsOf = (text: string): number => Math.min(30, Math.max(1, text.length / 15))

/** No service at all: clones are made at once, and speech is a murmur that any player plays. */
export const simulated: Speech = {
  look: async (id) => (SIMULATED_VOICES.includes(id) ? { shared: true } : null),
  clones: async () => [],
  clone: async ({ voice_id }) => `clone-${voice_id}`,
  remove: async () => {},
  speak: async (id, text) => ({ bytes: murmur(id, secondsOf(text)), type: 'audio/wav' }),
}
