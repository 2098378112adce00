import * as z from 'zod'
import { isUuid } from '../../lib/ids'
import { problem } from '../../lib/problem'

// What Svix's resources have in common on the wire: ids with a prefix, names of the caller's own, and lists.

export type Prefix = 'app' | 'ep' | 'msg'

/** An id as Svix's clients see it. */
export const prefixed = (prefix: Prefix, id: string): string => `${prefix}_${id}`

/** The id in one of ours; null for what is none. */
export function unprefixed(prefix: Prefix, text: string): string | null {
  const id = text.slice(prefix.length + 1).toLowerCase()
  return text.startsWith(`${prefix}_`) && isUuid(id) ? id : null
}

const NAME = /^[a-zA-Z0-9\-_.]{1,256}$/
const NAMED = 'must be 1 to 256 of the characters a-z A-Z 0-9 - _ .'

/** The id or the uid of a thing, in a path; `null` where it has the form of an id and is none. */
export const Ref = (prefix: Prefix) =>
  z
    .string()
    .regex(NAME, NAMED)
    .transform((text): { id: string } | { uid: string } => {
      if (!text.startsWith(`${prefix}_`)) return { uid: text }
      return { id: unprefixed(prefix, text) ?? text }
    })
    .meta({ description: `Its id (\`${prefix}_…\`) or its uid.` })

/** The caller's own name for a thing. */
export const Uid = (prefix: Prefix) =>
  z
    .string('must be a string')
    .regex(NAME, NAMED)
    .refine((uid) => !uid.startsWith(`${prefix}_`), `must not begin with ${prefix}_, as ids do`)
    .meta({ example: `unique-${prefix}-identifier` })

const MOST_METADATA = 4096

/** What the caller notes beside a thing. */
export const Metadata = z
  .record(z.string(), z.string('must be a string'))
  .refine(
    (data) => JSON.stringify(data).length <= MOST_METADATA,
    `must have at most ${MOST_METADATA} characters`,
  )
  .meta({ example: { plan: 'pro' } })

const LIMIT = 'must be a whole number from 1 to 250'

export const paging = {
  limit: z.coerce.number(LIMIT).int(LIMIT).min(1, LIMIT).max(250, LIMIT).default(50),
  iterator: z.string().max(300).optional().meta({
    description: 'The `iterator` of the page before, or the `prevIterator` of the page after.',
  }),
}

export const ordering = {
  ...paging,
  order: z.enum(['ascending', 'descending'], 'must be ascending or descending').optional(),
}

/** `true` or `false`, as a query says it. */
export const Flag = (otherwise: boolean) =>
  z
    .enum(['true', 'false'], 'must be true or false')
    .default(otherwise ? 'true' : 'false')
    .transform((word) => word === 'true')

/** Which rows a page has: one more than `limit` is read, in the direction and from the row that the iterator says. */
export type Window = { limit: number; ascending: boolean; from: string | null; backwards: boolean }

/**
 * The window that a query asks for; an iterator that begins with `-` goes back. `idOf` reads what follows, and answers
 * null for what is none of this list's: 422.
 */
export function windowOf(
  query: { limit: number; iterator?: string | undefined; order?: 'ascending' | 'descending' | undefined },
  order: 'ascending' | 'descending',
  idOf: (text: string) => string | null,
): Window {
  const { limit, iterator } = query
  const backwards = iterator?.startsWith('-') ?? false
  const from = iterator === undefined ? null : idOf(backwards ? iterator.slice(1) : iterator)
  if (iterator !== undefined && from === null)
    throw problem.invalid({ iterator: 'must be the iterator or the prevIterator of this list' })
  return { limit, ascending: ((query.order ?? order) === 'ascending') !== backwards, from, backwards }
}

/** What is read for a window: one row more than is shown. */
export const spanOf = ({ limit, ascending, from }: Window) => ({ limit: limit + 1, ascending, from })

export type Listing<T> = { data: T[]; iterator: string | null; prevIterator: string | null; done: boolean }

/**
 * A page of what was read for a window. `end` is the last row that was looked at where the list goes on beyond it, though
 * fewer were found than asked for.
 */
export function listing<R, T>(
  rows: readonly R[],
  { limit, backwards }: Window,
  show: (row: R) => T,
  iteratorOf: (row: R) => string,
  end: string | null = null,
): Listing<T> {
  const page = rows.slice(0, limit)
  const full = rows.length > limit
  const furthest = full || end === null ? null : end
  if (backwards) page.reverse()
  const [first, last] = [page[0], page.at(-1)]
  const at = (row: R | undefined) => (row === undefined ? null : iteratorOf(row))
  const before = backwards ? (furthest ?? at(first)) : at(first)
  return {
    data: page.map(show),
    iterator: backwards ? at(last) : (furthest ?? at(last)),
    prevIterator: before === null ? null : `-${before}`,
    done: !full && end === null,
  }
}

/** Answers of routes that create or change: 201 where something was made. */
export const createdOrNot = {
  bare: true,
  statusOf: (value: object) => ('made' in value && value.made === true ? 201 : 200),
} as const

/** The shape of a list. */
export const listOf = <S extends z.ZodType>(item: S) =>
  z.object({
    data: z.array(item),
    iterator: z.string().nullable(),
    prevIterator: z.string().nullable(),
    done: z.boolean(),
  })
