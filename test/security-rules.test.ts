import { describe, expect, it } from 'vitest'

// docs/security.md names a test for each rule; what it names must be there.

const page = Object.values(
  import.meta.glob<string>('../docs/security.md', { query: '?raw', import: 'default', eager: true }),
)[0] as string
const tests = import.meta.glob<string>('./**/*.test.{ts,mjs}', {
  query: '?raw',
  import: 'default',
  eager: true,
})

const files = new Map(
  [...page.matchAll(/^\[([\w-]+)\]: \.\.\/test\/(\S+)$/gm)].map(([, name = '', path = '']) => [
    name,
    tests[`./${path}`],
  ]),
)
/** “Some test” [its file], as the tables write it. */
const named = [...page.matchAll(/“([^”]+)” \[([\w-]+)\]/g)].map(([, title = '', file = '']) => ({
  title,
  file,
}))
const rows = page
  .slice(page.indexOf('## Rule by rule'), page.indexOf('### Not kept'))
  .split('\n')
  .filter((line) => /^\| \d/.test(line))

/** The titles of a file's tests, with quotes as they are read: in a literal those that would end it are escaped. */
const titlesIn = (text: string) =>
  [...text.matchAll(/\b(?:it|test|describe)\(\s*(['"`])((?:(?!\1)[^\\\n]|\\.)+)\1/g)].map(
    ([, , title = '']) => title.replaceAll("\\'", "'"),
  )
const isIn = (text: string, title: string) => titlesIn(text).some((one) => one.includes(title))

describe('the rules of docs/security.md', () => {
  it('there are some, and each names its test', () => {
    expect(rows.length).toBeGreaterThan(80)
    expect(rows.filter((row) => !/“[^”]+” \[[\w-]+\]/.test(row))).toEqual([])
    // A title without its file would not be looked for.
    expect(rows.filter((row) => /”(?! \[[\w-]+\])/.test(row))).toEqual([])
  })

  it('name files that there are', () => {
    expect([...files].filter(([, text]) => text === undefined).map(([name]) => name)).toEqual([])
    expect(named.filter(({ file }) => !files.has(file))).toEqual([])
    const used = new Set(named.map(({ file }) => file))
    expect([...files.keys()].filter((name) => !used.has(name))).toEqual([])
  })

  it('name tests that are in them', () => {
    const missing = named.filter(({ title, file }) => !isIn(files.get(file) ?? '', title))
    expect(missing.map(({ title, file }) => `${file}: ${title}`)).toEqual([])
  })
})
