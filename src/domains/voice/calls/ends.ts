import type { Context } from '../../../data/context'
import type { Consequence } from '../../webhooks/incoming/heard'
import type { CallRow } from './table'

/** What is to be written in the batch that ends these calls; the rows are as they will stand. */
type OnEnds = (
  ctx: Context,
  ended: readonly CallRow[],
) => Promise<Pick<Consequence, 'statements' | 'events' | 'after'>>

const listeners = new Map<string, OnEnds>()

/** Has `statements` written with the end of each call, once. */
export function callEnds(name: string, statements: OnEnds): void {
  listeners.set(name, statements)
}

/** All that follows from the end of these calls. */
export async function atEnds(ctx: Context, ended: readonly CallRow[]): Promise<Consequence[]> {
  return ended.length === 0
    ? []
    : Promise.all([...listeners.values()].map((listener) => listener(ctx, ended)))
}
