import type { Filter } from '../webhooks/endpoints/filter'

// What a workflow consists of, as it is kept; schema.ts says what is taken.

export type Trigger =
  | { type: 'event'; event_type: string; filter?: Filter | undefined }
  | { type: 'schedule'; cron: string; time_zone: string }

/** `next`: the step that follows, null for the end; without it the one that stands after this. */
type Flow = {
  name: string
  next?: string | null | undefined
  /** Where the run goes on when the step has failed for good; without it the run fails. */
  on_failure?: string | undefined
}

export type HttpStep = Flow & {
  type: 'http'
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  url: string
  headers: Record<string, string>
  body?: unknown
  timeout_seconds: number
  attempts: number
}

/** Sends an event of the tenant's to its endpoints. */
export type WebhookStep = Flow & {
  type: 'webhook'
  event_type: string
  data: Record<string, unknown>
  subject?: string | undefined
  channels: string[]
}

export type AgentStep = Flow & {
  type: 'agent'
  agent_id: string
  prompt: string
  timeout_seconds: number
  attempts: number
}

/** So many seconds, or until a time. */
export type WaitStep = Flow & { type: 'wait'; seconds?: number | undefined; until?: string | undefined }

/** The first condition that holds says where the run goes on; `next` where none does. */
export type BranchStep = Flow & { type: 'branch'; branches: { when: Filter; next: string | null }[] }

export type StepDefinition = HttpStep | WebhookStep | AgentStep | WaitStep | BranchStep
