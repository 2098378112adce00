import * as z from 'zod'

// What is wrong with a field where its schema has no words of its own: it says what to send instead, as they all do.

const TYPES: Record<string, string> = {
  ...{ string: 'a string', number: 'a number', int: 'a whole number', bigint: 'a whole number' },
  ...{ boolean: 'true or false', null: 'null', undefined: 'left out', never: 'left out', nan: 'no number' },
  ...{ array: 'a list', tuple: 'a list', set: 'a list', object: 'an object', record: 'an object' },
  ...{ map: 'an object', date: 'a time', file: 'a file' },
}
const FORMATS: Record<string, string> = {
  ...{ email: 'an email address', url: 'a URL', uuid: 'a UUID', guid: 'a UUID', datetime: 'a time' },
  ...{ date: 'a date', time: 'a time of day', duration: 'a duration', ipv4: 'an IPv4 address' },
  ...{ ipv6: 'an IPv6 address', cidrv4: 'a range of IPv4 addresses', cidrv6: 'a range of IPv6 addresses' },
  ...{ base64: 'base64', base64url: 'base64url', json_string: 'JSON', jwt: 'a JWT', hostname: 'a host name' },
}
const EXAMPLES: Record<string, string> = {
  ...{ datetime: '2026-01-31T10:00:00.000Z', date: '2026-01-31', time: '10:00:00', duration: 'PT10M' },
  ...{ email: 'ada@example.com', url: 'https://example.com', e164: '+14155550123' },
}
const UNITS: Record<string, string> = { string: 'characters', array: 'items', set: 'items', map: 'entries' }

type Issue = z.core.$ZodRawIssue
const listed = (values: readonly unknown[]) =>
  values.map((value) => (typeof value === 'string' ? value : String(value))).join(', ')

/** Why a value is refused, and what to send. */
function wordsOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : `must be ${TYPES[issue.expected] ?? issue.expected}`
    case 'invalid_value':
      if (issue.input === undefined) return 'is required'
      return issue.values.length === 1
        ? `must be ${listed(issue.values)}`
        : `must be one of ${listed(issue.values)}`
    case 'too_small':
      return bounded(
        issue.origin,
        issue.minimum,
        issue.exact ? 'exactly' : issue.inclusive ? 'at least' : 'more than',
      )
    case 'too_big':
      return bounded(
        issue.origin,
        issue.maximum,
        issue.exact ? 'exactly' : issue.inclusive ? 'at most' : 'less than',
      )
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`
    case 'invalid_format':
      return formed(issue)
    case 'unrecognized_keys':
      return `has fields that are not known: ${listed(issue.keys)}`
    case 'invalid_union':
      return Array.isArray(issue.options)
        ? `must be one of ${listed(issue.options)}`
        : 'is of no form that is taken here'
    case 'invalid_key':
      return 'has a name that is not allowed'
    case 'invalid_element':
      return 'has an item that is not allowed'
    default:
      return 'is not allowed'
  }
}

function bounded(origin: string, bound: number | bigint, how: string): string {
  const unit = UNITS[origin]
  if (!unit) return `must be ${how} ${bound}`
  if (how === 'at least' && Number(bound) === 1) return 'must not be empty'
  return `must have ${how} ${bound} ${Number(bound) === 1 ? unit.replace(/s$/, '') : unit}`
}

function formed({ format, ...issue }: Extract<Issue, { code: 'invalid_format' }>): string {
  const example = EXAMPLES[format] ? ` like ${EXAMPLES[format]}` : ''
  switch (format) {
    case 'starts_with':
      return `must begin with ${issue.prefix}`
    case 'ends_with':
      return `must end with ${issue.suffix}`
    case 'includes':
      return `must contain ${issue.includes}`
    case 'regex':
      return `must match ${issue.pattern}`
    case 'e164':
      return `must be a phone number${example}`
    default:
      return `must be ${FORMATS[format] ?? `of the form ${format}`}${example}`
  }
}

z.config({ localeError: wordsOf })
