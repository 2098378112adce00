/**
 * Refusals that lie with the parts of an upload as they were named: R2's numbers, which end its messages, and the S3 API's
 * words (developers.cloudflare.com/r2/api/error-codes). Every other failure is storage's own.
 */
const OF_PARTS = [
  ...['10011', '10024', '10025', '10029', '10048'],
  ...['EntityTooSmall', 'NoSuchUpload', 'InvalidPart', 'InvalidPartOrder', 'InvalidArgument'],
]

const codeOf = (cause: unknown): string | undefined =>
  cause instanceof Error
    ? /\((\d{5,6})\)$/.exec(cause.message.trim())?.[1]
    : /<Code>\s*(\w+)\s*<\/Code>/.exec(String(cause))?.[1]

/** Whether who named the parts can mend it; `cause` is what R2 threw, or the text that its S3 API answered. */
export const liesInParts = (cause: unknown): boolean => OF_PARTS.includes(codeOf(cause) ?? '')

/** Whether storage itself refused, and not who sends. */
export const isOfStorage = (cause: unknown): boolean => codeOf(cause) !== undefined && !liesInParts(cause)
