/** Whether an endpoint's pattern (`chat.created`, `chat.*`, `*`) takes an event type; fan-out says the same in SQL. */
export function matches(pattern: string, type: string): boolean {
  if (pattern === '*' || pattern === type) return true
  return pattern.endsWith('.*') && type.startsWith(pattern.slice(0, -1))
}
