import type { Context } from './context'

// What of a tenant's waits to be done is known best by who does it, and who shows it does not know them all: each says
// here how to read it.

/** Of one queue: how many of the tenant's things wait in it, since when the first does, and how many can't go on. */
export type Waiting = { name: string; waiting: number; since: string | null; stuck: number }

type Reader = (ctx: Context) => Promise<Waiting | null>

const readers: Reader[] = []

/** Has a queue shown to its tenant; null where this service has no such queue. */
export function onWaiting(reader: Reader): void {
  readers.push(reader)
}

/** All of them as they stand for the tenant. */
export async function readWaiting(ctx: Context): Promise<Waiting[]> {
  return (await Promise.all(readers.map((read) => read(ctx)))).filter((one) => one !== null)
}
