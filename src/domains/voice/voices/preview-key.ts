/** How the names of what is kept of a voice's sound begin. */
export const previewsOf = (tenantId: string, voiceId: string): string => `${tenantId}/voices/${voiceId}/`
