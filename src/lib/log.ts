// One JSON object a line. Nothing here may be given a secret, a token, a password or the text of a message.

const LEVELS = { debug: 10, info: 20, warn: 30, error: 40, silent: 50 } as const

export type LogLevel = keyof typeof LEVELS

let threshold: number = LEVELS.info

type Fields = Record<string, string | number | boolean | null | undefined>

function write(level: Exclude<LogLevel, 'silent'>, message: string, fields: Fields): void {
  if (LEVELS[level] < threshold) return
  const line = JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })
  if (level === 'error') console.error(line)
  else if (level === 'warn') console.warn(line)
  else console.log(line)
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
