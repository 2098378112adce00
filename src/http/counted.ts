/** Not counted at all (limits.md): what watches the service, by Svix's clients too, and its keys. */
const UNCOUNTED = /^\/(?:health|ready|metrics|\.well-known|api\/v1\/health)(?:\/|$)/

/** Whether requests to a path, or a route's pattern, count against a limit. */
export const isCounted = (path: string): boolean => !UNCOUNTED.test(path)
