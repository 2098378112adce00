import type { Transcriber } from './transcriber'

/** Always the same words, to try how recordings become interactions without any service for it. */
export const simulated: Transcriber = async () => ({ text: 'This is a simulated transcript.', segments: [] })
