import type * as z from 'zod'
import './field-words'
import type { FieldErrors } from './problem'

/** Every wrong field by its path, unknown ones by name. */
export function fieldErrors(issues: readonly z.core.$ZodIssue[], prefix: PropertyKey[] = []): FieldErrors {
  // Without a prototype: a field may be called __proto__.
  const fields: FieldErrors = Object.create(null)
  for (const issue of issues) {
    const path = [...prefix, ...issue.path]
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) fields[[...path, key].join('.')] = 'is not a known field'
    } else if (issue.code === 'invalid_union' && issue.errors.length > 0) {
      const plain = issue.errors.map(typeWanted)
      if (plain.every((words) => words !== null)) {
        fields[path.join('.') || 'body'] = `must be ${[...new Set(plain)].join(' or ')}`
        continue
      }
      // The branch that came furthest is the one that was meant.
      const nearest = issue.errors.reduce((best, branch) => (depth(branch) > depth(best) ? branch : best))
      Object.assign(fields, fieldErrors(nearest, path))
    } else {
      fields[path.join('.') || 'body'] = issue.message
    }
  }
  return fields
}

/** What a branch of a union takes instead, where the value is of another type altogether. */
const typeWanted = ([only, ...more]: readonly z.core.$ZodIssue[]): string | null =>
  only?.code === 'invalid_type' && only.path.length === 0 && more.length === 0
    ? (/^must be (.+)$/.exec(only.message)?.[1] ?? null)
    : null

const depth = (issues: readonly z.core.$ZodIssue[]) =>
  issues.reduce(
    (most, issue) => Math.max(most, issue.path.length + (issue.code === 'unrecognized_keys' ? 1 : 0)),
    0,
  )
