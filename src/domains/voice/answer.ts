import type * as z from 'zod'
import type { Context } from '../../data/context'
import { problem } from '../../lib/problem'
import {
  askProvider,
  type Provider,
  type ProviderAnswer,
  type ProviderRequest,
} from '../../lib/provider-fetch'

/** Which account is asked, for whom, and until when. */
export type Asking = { ctx: Pick<Context, 'settings' | 'traceparent'>; account: Provider; until?: number }

/** What a provider answers, as `askProvider` has it. */
export const answerTo = (
  { ctx, account, until }: Asking,
  request: ProviderRequest,
): Promise<ProviderAnswer> => askProvider(ctx, account, until === undefined ? request : { ...request, until })

/** What of an answer is relied on; `provider_failed` for one that lacks it. */
export async function answerOf<T extends z.ZodType>(
  at: Asking,
  request: ProviderRequest,
  shape: T,
): Promise<z.output<T>> {
  const { status, body } = await answerTo(at, request)
  return readable(at.account, status, body, shape)
}

/** The same; null where there is no such thing (404). */
export async function answerIfAny<T extends z.ZodType>(
  at: Asking,
  request: ProviderRequest,
  shape: T,
): Promise<z.output<T> | null> {
  const { status, body } = await answerTo(at, { ...request, meant: [404] })
  return status === 404 ? null : readable(at.account, status, body, shape)
}

function readable<T extends z.ZodType>(
  { name }: Provider,
  status: number,
  body: unknown,
  shape: T,
): z.output<T> {
  const read = shape.safeParse(body)
  if (read.success) return read.data
  const at = read.error.issues[0]?.path.join('.') || 'body'
  throw problem('provider_failed', `The provider ${name} answered ${status} without a readable ${at}`, {
    details: { provider: name, status, said: null },
  })
}
