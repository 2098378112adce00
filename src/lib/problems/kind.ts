export type Category =
  | 'validation'
  | 'authentication'
  | 'authorization'
  | 'not_found'
  | 'conflict'
  | 'rate_limit'
  | 'service_error'

/** What a code means: its status, its category, what the caller should do next, and whether the same request may succeed later. */
export type Kind = { status: number; category: Category; hint: string; retryable?: true }

/** Codes of one category. */
export function ofCategory<Code extends string>(
  category: Category,
  codes: Record<Code, Omit<Kind, 'category'>>,
): Record<Code, Kind> {
  const entries = Object.entries<Omit<Kind, 'category'>>(codes)
  // The same codes, each with its category.
  return Object.fromEntries(entries.map(([code, kind]) => [code, { ...kind, category }])) as Record<
    Code,
    Kind
  >
}
