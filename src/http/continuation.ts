const continued = new WeakSet<Request>()

/** Marks a request that this service makes of itself to answer one that was counted already. */
export function continuing(request: Request): Request {
  continued.add(request)
  return request
}

/** Whether the request belongs to one that was counted already. */
export const isContinuation = (request: Request): boolean => continued.has(request)
