import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { readSpanOf } from '../../files/content'
import { getReadyFile } from '../../files/service'
import { hurryAbout } from '../../jobs/about'
import { jobKind, type Step } from '../../jobs/kinds'
import type { Job } from '../../jobs/schema'
import { jobStarted } from '../../jobs/service'
import { added, NOTHING, summed, wake } from './contacts'
import { type Header, readHeader, readLines } from './lines'
import { type Counts, changeOf, decided, LINES_OF_BATCH, planOf, RACES } from './merge'
import type { LineError } from './schema'
import { existingCampaign } from './service'

// A file of contacts, step by step: each reads a window of it, takes the lines that are whole, and writes them together with
// where the next one begins. Whatever breaks off, no line is counted twice or left out.

/** What one step reads: several times the longest line, and more than a batch needs of ordinary ones. */
const WINDOW_BYTES = 512 * 1024
/** Of the lines that are refused, so many are named. */
const MOST_ERRORS = 100

type Input = { campaign_id: string; file_id: string; filename: string; size: number }
type State = {
  /** Of the bytes as they were when it began. */
  etag: string | null
  offset: number
  line: number
  /** In the middle of a line that is too long, and passed over. */
  passing: boolean
  header: Header | null
  counts: Counts
  errors: LineError[]
}

const importing = jobKind<Input, State>({
  name: 'campaigns.import',
  scope: 'campaigns:write',
  step: (ctx, { input, state }) => decided(() => stepOf(ctx, input, state)),
})

/** Begins to take in a file of contacts; the first are there, or its header is refused, when this answers. 404, 409, 422. */
export async function importContacts(
  ctx: Context,
  id: string,
  { file_id }: { file_id: string },
): Promise<Job & { version: number }> {
  await existingCampaign(ctx, id)
  const { filename, size, etag } = await getReadyFile(ctx, file_id)
  const input: Input = { campaign_id: id, file_id, filename, size }
  const state: State = {
    ...{ etag, offset: 0, line: 1, passing: false, header: null, counts: NOTHING, errors: [] },
  }
  return decided(async () => {
    const first = await stepOf(ctx, input, state)
    const { job, statements, events, after } = jobStarted(ctx, importing, input, first)
    const audit = { ...added(id, first.state.counts), after: { job_id: job.id, file_id, filename } }
    await commit(ctx, { statements, events, audit, unique: RACES, result: job })
    ctx.defer(after())
    return job
  })
}

async function stepOf(ctx: Context, input: Input, before: State): Promise<Step<State>> {
  const length = Math.min(WINDOW_BYTES, input.size - before.offset)
  const file = { tenant_id: ctx.tenant.id, id: input.file_id, etag: before.etag }
  const bytes = await readSpanOf(ctx, file, { offset: before.offset, length })
  const final = before.offset + bytes.length >= input.size
  const begun = before.header === null ? readHeader(bytes, final) : null
  const header = begun?.header ?? before.header
  if (header === null) throw new Error('an import goes on without its header')
  const from = begun?.place ?? { at: 0, line: before.line, passing: before.passing }
  const { lines, place } = readLines(header, bytes, from, LINES_OF_BATCH, final)
  const plan = await planOf(ctx, input.campaign_id, lines)
  const { line, passing } = place
  const state: State = {
    ...{ etag: before.etag, header, offset: before.offset + place.at, line, passing },
    counts: summed(before.counts, plan.counts),
    errors: [...before.errors, ...plan.errors].slice(0, MOST_ERRORS),
  }
  if (state.offset === before.offset && !final)
    throw problem.invalid({ file_id: `stands still at byte ${state.offset}` })
  const done = state.offset >= input.size
  const { statements } = changeOf(ctx, input.campaign_id, plan)
  return {
    state,
    progress: (100 * state.offset) / input.size,
    result: { ...state.counts, errors: state.errors },
    done,
    // A campaign that waits hears of its new contacts when all of them are there.
    change: { statements: [...statements, ...(done ? [hurryAbout(ctx, input.campaign_id)] : [])] },
    after: async () => {
      if (done) await wake(ctx, await existingCampaign(ctx, input.campaign_id))
    },
  }
}
