// What a plan means, all of it (limits.md). Everything that asks for a number of a tenant asks here.

/** What limits a tenant. Requests, messages and uploads are refused beyond it, deliveries wait. */
export type Limits = {
  requests_per_minute: number
  requests_per_hour: number
  requests_per_day: number
  messages_per_minute: number
  open_streams: number
  deliveries_per_second: number
  uploads_per_minute: number
  storage_bytes: number
}

/** A tenant's own numbers, which win over its plan's. */
export type OwnLimits = Partial<Limits>

type PlanTerms = Limits & { users: number }

const GB = 1_000_000_000

/** No limit; the column of the setting that may lower it has to hold a number. */
export const UNLIMITED_USERS = 1_000_000

const STARTER: PlanTerms = {
  requests_per_minute: 1_000,
  requests_per_hour: 50_000,
  requests_per_day: 1_000_000,
  messages_per_minute: 60,
  open_streams: 1_000,
  deliveries_per_second: 20,
  uploads_per_minute: 30,
  storage_bytes: GB,
  users: 10,
}

const PRO: PlanTerms = {
  requests_per_minute: 5_000,
  requests_per_hour: 250_000,
  requests_per_day: 5_000_000,
  messages_per_minute: 300,
  open_streams: 10_000,
  deliveries_per_second: 50,
  uploads_per_minute: 120,
  storage_bytes: 50 * GB,
  users: 100,
}

const ENTERPRISE: PlanTerms = {
  requests_per_minute: 20_000,
  requests_per_hour: 1_000_000,
  requests_per_day: 20_000_000,
  messages_per_minute: 1_000,
  open_streams: 100_000,
  deliveries_per_second: 200,
  uploads_per_minute: 600,
  storage_bytes: 1_000 * GB,
  users: UNLIMITED_USERS,
}

export const PLANS = { starter: STARTER, pro: PRO, enterprise: ENTERPRISE } as const
export type PlanName = keyof typeof PLANS
export const PLAN_NAMES = Object.keys(PLANS) as [PlanName, ...PlanName[]]

/** The most that a tenant's own number may be: far above every plan, and within what one Meter can count. */
export const MOST: Limits = {
  requests_per_minute: 1_000_000,
  requests_per_hour: 50_000_000,
  requests_per_day: 1_000_000_000,
  messages_per_minute: 100_000,
  open_streams: 1_000_000,
  deliveries_per_second: 10_000,
  uploads_per_minute: 100_000,
  storage_bytes: 1_000_000 * GB,
}

export const LIMIT_NAMES = Object.keys(MOST) as [keyof Limits, ...(keyof Limits)[]]

/** The plan's terms; a plan that is not known means the smallest. */
export const termsOf = (plan: string): PlanTerms => PLANS[plan as PlanName] ?? STARTER

/** The limits as they hold for a tenant of `plan` with numbers of its own. */
export function limitsOf({ plan, rate_limits }: { plan: string; rate_limits: OwnLimits }): Limits {
  const { users: _, ...limits } = termsOf(plan)
  return { ...limits, ...rate_limits }
}
