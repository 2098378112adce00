import { commit, MAX_PAYLOAD } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { tellable } from '../../../lib/keepable'
import { type FieldErrors, Problem, problem } from '../../../lib/problem'
import type { Sent } from './batch-body'
import { incoming } from './incoming'
import { linked, relinked, windowOf } from './linking'
import { registration, serviceEnabled } from './register'
import { announced, type NewRow, rowOf } from './rows'
import type { BatchResult } from './schema'

type Judged = { index: number; line: number | null } & ({ row: NewRow } | { refusal: Problem })

/**
 * Registers many at once, the good ones in one batch with their events; each of the others is told what is wrong with it.
 * 409 `service_disabled` while the tenant's switch is off, whatever was sent.
 */
export function createInteractions(ctx: Context, sent: readonly Sent[]): Promise<BatchResult> {
  return relinked(() => created(ctx, sent))
}

async function created(ctx: Context, sent: readonly Sent[]): Promise<BatchResult> {
  const judged = sent.map((one) => judge(ctx, one))
  const good = judged.flatMap((one) => ('row' in one ? [one.row] : []))
  const { rows, begun } = await linked(ctx, good, windowOf(ctx))
  const results = judged.map(resultOf)
  const { statements, events } = registration(ctx, rows)
  return commit(ctx, {
    statements: [serviceEnabled(ctx), ...begun, ...statements],
    events,
    result: { created: rows.length, failed: sent.length - rows.length, results },
  })
}

function judge(ctx: Context, { index, line, ...one }: Sent): Judged {
  const at = { index, line }
  if ('refusal' in one) return { ...at, refusal: one.refusal }
  try {
    const input = incoming(one.value)
    if ('file_id' in input && input.file_id !== undefined)
      throw problem.invalid({ file_id: 'must be sent by itself, to POST /api/v1/interactions' })
    const row = rowOf(ctx, input)
    refuseTooLarge(ctx, row)
    return { ...at, row }
  } catch (error) {
    if (error instanceof Problem) return { ...at, refusal: error }
    throw error
  }
}

/** One whose event would be too large must not take the others with it. */
function refuseTooLarge(ctx: Context, row: NewRow): void {
  // A conversation that is found for it has at most so many letters.
  const size = Buffer.byteLength(JSON.stringify(announced(ctx, row).data)) + 1_024
  if (size > MAX_PAYLOAD)
    throw problem('payload_too_large', 'What is announced of it is over its limit', {
      details: { limit_bytes: MAX_PAYLOAD },
    })
}

function resultOf({ index, line, ...one }: Judged): BatchResult['results'][number] {
  if ('row' in one) return { index, line, status: 'created', id: one.row.id, error: null }
  const { code, message, details } = one.refusal
  const fields = details.fields ? tellable(details.fields as FieldErrors, 'body') : null
  return { index, line, status: 'failed', id: null, error: { code, message, fields } }
}
