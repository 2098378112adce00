/** How an event that a run sends says where it comes from; by it the event comes once, and workflows know their own. */
export const originOf = (runId: string, key: string) => `workflows/${runId}/${key}`

/** The run that an event's origin names; null where it comes from elsewhere. */
export const runOf = (origin: string | null): string | null =>
  /^workflows\/([0-9a-f-]{36})\//.exec(origin ?? '')?.[1] ?? null
