import { format as FORMATS } from '@cfworker/json-schema'
import { refusalOfPattern } from '../../../lib/safe-pattern'

// What a tenant's JSON Schema may say. A keyword that the validator does not know would be ignored without a word, so
// it is refused by its place.

/** A keyword's value: why it is not taken, and the schemas inside it. */
type Keyword = (value: unknown) => { refusal: string | null; inside: [string, unknown][] }

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const plain =
  (is: (value: unknown) => boolean, must: string): Keyword =>
  (value) => ({ refusal: is(value) ? null : must, inside: [] })

const natural = plain(
  (value) => Number.isInteger(value) && Number(value) >= 0,
  'must be a whole number from 0',
)
const number = plain((value) => typeof value === 'number', 'must be a number')
const strings = plain(
  (value) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
  'must be a list of names',
)
const anything = plain(() => true, '')

const schema: Keyword = (value) => ({ refusal: null, inside: [['', value]] })
const list: Keyword = (value) =>
  Array.isArray(value) && value.length > 0
    ? { refusal: null, inside: value.map((one, i) => [String(i), one]) }
    : { refusal: 'must be a list of schemas, and not empty', inside: [] }
const map: Keyword = (value) =>
  isObject(value)
    ? { refusal: null, inside: Object.entries(value) }
    : { refusal: 'must be an object of schemas', inside: [] }
const schemaOrList: Keyword = (value) => (Array.isArray(value) ? list(value) : schema(value))

const patterns: Keyword = (value) => {
  const refusals = isObject(value) ? Object.keys(value).map(refusalOfPattern) : []
  return { ...map(value), refusal: map(value).refusal ?? refusals.find((one) => one !== null) ?? null }
}

const TYPES = ['array', 'boolean', 'integer', 'null', 'number', 'object', 'string']
const isType = (value: unknown) => TYPES.includes(value as string)

export const DRAFTS: Record<string, '2020-12' | '2019-09' | '7'> = {
  'https://json-schema.org/draft/2020-12/schema': '2020-12',
  'https://json-schema.org/draft/2019-09/schema': '2019-09',
  'http://json-schema.org/draft-07/schema': '7',
}
/** With or without the empty fragment that the older drafts write. */
export const draftOf = (uri: unknown) => (typeof uri === 'string' ? DRAFTS[uri.replace(/#$/, '')] : undefined)

const alike = (keyword: Keyword, ...names: string[]) =>
  Object.fromEntries(names.map((name) => [name, keyword]))

/** What is written beside, and holds nothing of data. */
export const NOTES = [
  ...['title', 'description', 'default', 'examples', 'example', '$comment', 'deprecated', 'readOnly'],
  ...['writeOnly', 'contentEncoding', 'contentMediaType'],
]

/** `url` is none of JSON Schema's, and its expression takes for ever on some texts. */
const isFormat = (value: unknown) =>
  typeof value === 'string' && value !== 'url' && Object.hasOwn(FORMATS, value)

export const KEYWORDS: Record<string, Keyword> = {
  $schema: plain((value) => draftOf(value) !== undefined, `must be one of ${Object.keys(DRAFTS).join(', ')}`),
  $ref: plain(
    (value) => value === '#' || (typeof value === 'string' && value.startsWith('#/')),
    'must point into this schema, such as #/$defs/address',
  ),
  ...{ $defs: map, definitions: map, properties: map, patternProperties: patterns, dependentSchemas: map },
  ...{ allOf: list, anyOf: list, oneOf: list, prefixItems: list, items: schemaOrList },
  ...alike(schema, 'not', 'if', 'then', 'else', 'contains', 'propertyNames'),
  ...alike(schema, 'additionalProperties', 'unevaluatedProperties'),
  ...alike(schema, 'additionalItems', 'unevaluatedItems'),
  type: plain(
    (value) => isType(value) || (Array.isArray(value) && value.length > 0 && value.every(isType)),
    `must be one of ${TYPES.join(', ')}, or a list of them`,
  ),
  enum: plain((value) => Array.isArray(value) && value.length > 0, 'must be a list of values'),
  const: anything,
  required: strings,
  dependentRequired: plain(
    (value) => isObject(value) && Object.values(value).every((one) => strings(one).refusal === null),
    'must be an object of lists of names',
  ),
  ...alike(number, 'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'),
  multipleOf: plain((value) => typeof value === 'number' && value > 0, 'must be a number above 0'),
  ...alike(natural, 'minLength', 'maxLength', 'minItems', 'maxItems'),
  ...alike(natural, 'minProperties', 'maxProperties', 'minContains', 'maxContains'),
  uniqueItems: plain((value) => typeof value === 'boolean', 'must be true or false'),
  pattern: (value) => ({
    refusal: typeof value === 'string' ? refusalOfPattern(value) : 'must be a regular expression',
    inside: [],
  }),
  format: plain(isFormat, 'must be a format of JSON Schema, such as date-time, email, uri or uuid'),
  ...alike(anything, ...NOTES),
}
