// One JSON object a line. Nothing here may be given a secret, a token, a password or the text of a message.

import { iso } from './ids'

const LEVELS = { debug: 10, info: 20, warn: 30, error: 40, silent: 50 } as const

export type LogLevel = keyof typeof LEVELS

let threshold: number = LEVELS.info

type Fields = Record<string, string | number | boolean | null | undefined>

function write(level: Exclude<LogLevel, 'silent'>, message: string, fields: Fields): void {
  if (LEVELS[level] < threshold) return
  const entry = { time: iso(Date.now()), level, message, ...fields }
  let line = JSON.stringify(entry)
  // A replacer is called for every field, so only where there is something to replace.
  if (line.includes(PRINTED_VALUES)) line = JSON.stringify(entry, withoutValues)
  if (level === 'error') console.error(line)
  else if (level === 'warn') console.warn(line)
  else console.log(line)
}

/** Drizzle ends the message of a failed statement with its values, which are passwords' hashes and people's words. */
const VALUES = /\nparams: [\s\S]*/
const PRINTED_VALUES = '\\nparams: '

const withoutValues = (_name: string, value: unknown): unknown =>
  typeof value === 'string' ? value.replace(VALUES, '') : value

/** An error with its stack and its causes, and without the values of a statement that failed. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `; caused by ${describeError(error.cause)}`
  // By its length: the values may hold anything, a line that looks like the stack's too.
  const at = error.stack?.indexOf(error.message) ?? -1
  const stack = at < 0 ? '' : (error.stack ?? '').slice(at + error.message.length)
  return `${error.name}: ${error.message.replace(VALUES, '')}${stack}${cause}`
}

export const log = {
  setLevel: (level: LogLevel) => {
    threshold = LEVELS[level]
  },
  debug: (message: string, fields: Fields = {}) => write('debug', message, fields),
  info: (message: string, fields: Fields = {}) => write('info', message, fields),
  warn: (message: string, fields: Fields = {}) => write('warn', message, fields),
  error: (message: string, fields: Fields = {}) => write('error', message, fields),
}
