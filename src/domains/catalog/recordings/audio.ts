/** The largest recording, and the largest that comes in a form. */
export const MAX_AUDIO = 25 * 1024 * 1024
export const MAX_SENT = 5 * 1024 * 1024
/** Larger ones are transcribed after the answer. */
export const MAX_AT_ONCE = 1024 * 1024
