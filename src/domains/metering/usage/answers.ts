import { bucketOf, type Latencies } from './latency'

/** What answers of agents came to, of runs that have ended; tokens where the agent told them. */
export type Answers = {
  runs: number
  prompt_tokens: number
  completion_tokens: number
  /** How many had their first word after how long, and their last. */
  time_to_first_token: Latencies
  duration: Latencies
}

/** What one answer cost, as it is known when it has ended. */
export type AnswerCost = {
  prompt_tokens: number | null
  completion_tokens: number | null
  time_to_first_token_ms: number | null
  duration_ms: number
}

/** One answer; null where nothing is known of what it cost. */
export const oneAnswer = (cost: AnswerCost | null): Answers => ({
  runs: 1,
  prompt_tokens: cost?.prompt_tokens ?? 0,
  completion_tokens: cost?.completion_tokens ?? 0,
  time_to_first_token: once(cost?.time_to_first_token_ms),
  duration: once(cost?.duration_ms),
})

const once = (ms: number | null | undefined): Latencies =>
  typeof ms === 'number' ? { [bucketOf(ms)]: 1 } : {}

/** Both together. */
export function addAnswers(one: Answers | null | undefined, more: Answers): Answers {
  if (!one) return more
  return {
    runs: one.runs + more.runs,
    prompt_tokens: one.prompt_tokens + more.prompt_tokens,
    completion_tokens: one.completion_tokens + more.completion_tokens,
    time_to_first_token: together(one.time_to_first_token, more.time_to_first_token),
    duration: together(one.duration, more.duration),
  }
}

function together(one: Latencies, more: Latencies): Latencies {
  const sum = { ...one }
  for (const bucket in more) sum[bucket] = (sum[bucket] ?? 0) + (more[bucket] ?? 0)
  return sum
}
