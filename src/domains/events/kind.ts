import * as z from 'zod'

// What the entries of the catalogue are written with.

export const Uuid = z.uuid()
export const Time = z.iso.datetime()

export const ID = '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d'
export const OTHER_ID = '0197b3c2-9a10-7f3e-8b21-5d6e7f8091a2'
export const AT = '2026-01-31T10:00:00.000Z'

/** An event type: what it says, the shape of its data, and an example of that. */
export function kind<S extends z.ZodObject>(description: string, data: S, example: z.input<S>) {
  return { description, data, example }
}
