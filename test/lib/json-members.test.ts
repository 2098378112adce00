import { describe, expect, it } from 'vitest'
import { hasDoubledMembers } from '../../src/lib/json-members'

describe('members of an object that are there twice', () => {
  for (const json of [
    '{"a":1,"a":2}',
    '{"a":1,"b":{"c":1,"c":2}}',
    '[{"a":1},{"a":1,"a":1}]',
    '{"a":1,"\\u0061":2}',
    '{"a":"}","a":1}',
    '{"a\\"":1,"a\\"":2}',
    '{"":1,"":2}',
    '{"a":{"a":1},"a":1}',
    '{"__proto__":1,"__proto__":2}',
    '{ "a" : 1 , "a" : 2 }',
  ])
    it(`are found: ${json}`, () => expect(hasDoubledMembers(json)).toBe(true))

  for (const json of [
    '{}',
    '[]',
    '"a"',
    '7',
    'null',
    '{"a":1,"b":2}',
    '{"a":{"a":{"a":1}}}',
    '[{"a":1},{"a":1}]',
    '{"a":"a","b":"a"}',
    '{"a":"\\"a\\":1,\\"a\\":2"}',
    '{"a":["a","a"],"b":["a:","a:"]}',
    '{"a":"{","b":"}"}',
    '{"a":1,"A":1,"a ":1}',
    '{"\\\\":1,"\\\\\\\\":2}',
  ])
    it(`are none: ${json}`, () => expect(hasDoubledMembers(json)).toBe(false))
})
