import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { Problem, problem } from '../../../lib/problem'
import type { Provider } from './table'

// What a provider's webhook means to the tenant whose it is: each who asks a provider for something says here what is to
// be written when it tells of that. It is one batch with the record of the webhook, so it is done once or not at all.

/** A webhook of a provider that was verified, of a tenant for which the provider was asked. */
export type Heard = {
  key: string
  type: string
  value: unknown
  /** Whether an account of the tenant’s own sent it, which may say what it likes: it counts for what went through that alone. */
  own: boolean
}

export type Consequence = Partial<
  Pick<Change<unknown>, 'statements' | 'events' | 'audit' | 'unique' | 'tell'>
> & {
  /** Done once that stands; a crash may leave it out, so it is no more than a nudge. */
  after?: () => Promise<unknown>
}

/** Reads what it needs and answers with what is to be written; null where the webhook means nothing to it. */
export type OnIncoming = (ctx: Context, heard: Heard) => Promise<Consequence | null>

/** What a statement is refused with that found its row otherwise than it was read: the handlers are asked anew. */
export const OVERTAKEN = problem('conflict', 'What the webhook is about has changed meanwhile', {
  headers: { 'Retry-After': '1' },
})

const ATTEMPTS = 5

const handlers = new Map<Provider, OnIncoming[]>()

/** Has `handler` say what follows from each webhook of `provider`, in the batch that takes it in. */
export function onIncoming(provider: Provider, handler: OnIncoming): void {
  handlers.set(provider, [...(handlers.get(provider) ?? []), handler])
}

/** All that follows from a webhook, as one change. */
export async function consequencesOf(ctx: Context, provider: Provider, heard: Heard): Promise<Consequence> {
  const all = await Promise.all((handlers.get(provider) ?? []).map((handler) => handler(ctx, heard)))
  const some = all.filter((one) => one !== null)
  return {
    statements: some.flatMap(({ statements }) => statements ?? []),
    events: some.flatMap(({ events }) => events ?? []),
    audit: some.flatMap(({ audit }) => audit ?? []),
    tell: some.flatMap(({ tell }) => tell ?? []),
    unique: Object.assign({}, ...some.map(({ unique }) => unique ?? {})),
    after: () => Promise.all(some.map(({ after }) => after?.())),
  }
}

/** Decides and writes; once more where what was read had changed by then. */
export async function untilSettled<T>(attempt: () => Promise<T>): Promise<T> {
  for (let count = 1; ; count++) {
    try {
      return await attempt()
    } catch (error) {
      const again = error === OVERTAKEN || (error instanceof Problem && error.code === 'insufficient_credit')
      if (!again || count === ATTEMPTS) throw error
    }
  }
}
