import { onChange } from '../../data/changes'
import type { ChangeOfEach } from '../../data/tell'
import { knowledgeOf, untilOf } from './knowledge'

// What access tokens stand for may change while they live. A change of role is told with the user (knowledge.ts).

/**
 * The end of a user's access tokens that were issued by now, as it is told: what they stood for has changed. By now, and
 * not by when the request began: of two changes the later one is to end what was issued later.
 */
export const tokensEnd = (userId: string) => ({
  ...{ kind: 'tokens', id: userId },
  data: { issued_before: Date.now() },
})

/** The same for each user of `from`: a table and its condition, and what the user's id is called there. */
export const tokensEndOf = (of: Pick<ChangeOfEach, 'from' | 'id' | 'tenant_id'>): ChangeOfEach => ({
  ...{ kind: 'tokens', data: { issued_before: Date.now() } },
  ...of,
})

onChange('tokens', (env, tenantId, change) => {
  // As tokensEnd wrote it.
  const { issued_before } = change.data as { issued_before: number }
  knowledgeOf(env, tenantId).learnOutdated(change.id, issued_before, untilOf(change))
})
