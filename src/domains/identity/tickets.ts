import type { RequestContext } from '../../data/context'
import { problem } from '../../lib/problem'

// A browser can't set a header on a socket or an EventSource; there, a ticket stands for the credential that it was made
// with. Who keeps tickets is above this domain, and says so here.

/** The credential that a ticket was made with, and the tenant that was named with it. */
export type Ticketed = { credential: string; named: string | null }

type Taker = (request: RequestContext, ticket: string) => Promise<Ticketed>

let taker: Taker | null = null

/** Has tickets taken by who keeps them: each once. */
export function ticketsAreTakenBy(take: Taker): void {
  taker = take
}

/** What a ticket stands for; it is used up. 401 where it is none. */
export function takeTicketed(request: RequestContext, ticket: string): Promise<Ticketed> {
  if (!taker) throw problem.unauthorized('invalid_token', 'The ticket was used, has expired, or is none')
  return taker(request, ticket)
}
