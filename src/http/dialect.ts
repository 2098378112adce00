import type * as z from 'zod'
import type { Problem } from '../lib/problem'

/** Where in a request a field was sent. */
export type Place = 'path' | 'query' | 'body'

/**
 * Another product's protocol, for routes that its clients drive unchanged. A route says which one it speaks; who calls,
 * what they may, limits, idempotency and audit are as everywhere, and its answers are bare. Here is how it says what goes
 * wrong; the status is the one that a refusal has everywhere.
 */
export type Dialect = {
  name: string
  /** The body of a refusal; `placeOf` finds where a field that is wrong was sent. */
  refusal: (failure: Problem, placeOf: (field: string) => Place) => unknown
  /** What its clients look for beside the body. */
  headers?: (failure: Problem) => Record<string, string>
  /** The shape of that body, for the document. */
  refusalSchema: (status: number) => z.ZodType
}
