import { csvLine } from '../../../lib/csv'
import type { UsageRow } from './schema'

const COUNTS = ['requests', 'errors'] as const
const PERCENTILES = ['p50', 'p95', 'p99'] as const
const SIZES = ['request_size_bytes', 'response_size_bytes'] as const
const ANSWERS = ['runs', 'prompt_tokens', 'completion_tokens'] as const
const TIMES = ['time_to_first_token_ms', 'duration_ms'] as const

/** The names of a group's own columns. */
export const GROUP_COLUMNS: Record<string, (keyof UsageRow)[]> = {
  minute: ['minute'],
  hour: ['hour'],
  day: ['day'],
  endpoint: ['method', 'endpoint'],
  status: ['status'],
  api_key: ['api_key_id', 'principal'],
}

/** Usage as CSV (RFC 4180): a line of names, then a line for each row. */
export function usageCsv(groupBy: string, rows: readonly UsageRow[]): string {
  const columns = GROUP_COLUMNS[groupBy] ?? []
  const times = TIMES.flatMap((name) => PERCENTILES.map((percentile) => `${name}_${percentile}`))
  const latencies = PERCENTILES.map((name) => `latency_ms_${name}`)
  const head = [...columns, ...COUNTS, ...latencies, ...SIZES, ...ANSWERS, ...times]
  const lines = rows.map((row) => [
    ...columns.map((name) => row[name]),
    ...COUNTS.map((name) => row[name]),
    ...PERCENTILES.map((name) => row.latency_ms[name]),
    ...SIZES.map((name) => row[name]),
    ...ANSWERS.map((name) => row.answers?.[name] ?? 0),
    ...TIMES.flatMap((name) => PERCENTILES.map((percentile) => row.answers?.[name][percentile] ?? null)),
  ])
  return [head, ...lines].map(csvLine).join('')
}
