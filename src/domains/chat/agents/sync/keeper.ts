import type { Context } from '../../../../data/context'
import type { AgentRow } from '../table'

/**
 * The provider that speaks on calls for agents of the kind `ultravox`, and has a copy of each. What it throws as a problem
 * that is not retryable ends the attempts (the agent shows it as its `sync_error`); all else is tried again.
 */
export type Keeper = {
  /**
   * Makes the agent there, or brings what is there to what it is here, and answers the id that it has there. Asked again
   * after a crash it must find what it made before: by the agent's own id, where `provider_agent_id` is null.
   */
  save: (ctx: Context, agent: AgentRow) => Promise<string>
  /** Deletes it there; harmless where it is gone. The id there is null where it was never told. */
  remove: (ctx: Context, agent: Pick<AgentRow, 'id' | 'provider_agent_id'>) => Promise<unknown>
}

let keeper: Keeper | null = null

/** Declares the provider; the later declaration counts. */
export function agentsKeptBy(provider: Keeper): void {
  keeper = provider
}

/** Null where this service has none. */
export const keeperOfAgents = (): Keeper | null => keeper

/** Whether agents of a kind have a copy at a provider. */
export const isKept = ({ kind }: Pick<AgentRow, 'kind'>): boolean => kind === 'ultravox'
