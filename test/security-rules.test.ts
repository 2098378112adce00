import { describe, expect, it } from 'vitest'

// docs/security.md names every rule and a test for each, docs/identity.md every attack; what they name must be there.

const pages = import.meta.glob<string>('../docs/{security,identity}.md', {
  query: '?raw',
  import: 'default',
  eager: true,
})
const page = pages['../docs/security.md'] as string
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

/** The numbers `2.1.1` to `2.1.n` of a chapter, but for those that were taken out. */
const chapter = (name: string, count: number, ...without: number[]) =>
  Array.from({ length: count }, (_, i) => i + 1).flatMap((n) => (without.includes(n) ? [] : [`${name}.${n}`]))

/** The rules that a service like this one is asked for, and the headings of their tables. */
const STANDARDS: Record<string, { heading: RegExp; rules: string[] }> = {
  'RFC 8725': { heading: /RFC 8725/, rules: chapter('3', 12) },
  // Of OWASP ASVS 4.0.3 those of levels 1 and 2.
  ASVS: {
    heading: /ASVS|^V\d/,
    rules: [
      ...chapter('2.1', 12),
      ...chapter('2.2', 3),
      ...chapter('2.3', 3),
      ...chapter('2.4', 5),
      ...chapter('2.5', 7),
      ...chapter('2.6', 3),
      ...chapter('2.7', 6),
      ...chapter('2.8', 6),
      ...chapter('2.9', 3),
      ...chapter('2.10', 4),
      ...chapter('3.1', 1),
      ...chapter('3.2', 4),
      ...chapter('3.3', 4),
      ...chapter('3.4', 5),
      ...chapter('3.5', 3),
      ...chapter('3.7', 1),
      ...chapter('4.1', 5, 4),
      ...chapter('4.2', 2),
      ...chapter('4.3', 3),
      ...chapter('7.1', 4),
      ...chapter('7.2', 2),
      ...chapter('7.3', 4, 2),
      ...chapter('7.4', 3),
    ],
  },
}

/** The numbers that the first cells of the tables under such headings begin with, and those said not to be kept. */
function numbersIn(isOf: (heading: string) => boolean, standard: string): Set<string> {
  const found = new Set<string>()
  for (const section of page.slice(page.indexOf('## Rule by rule')).split(/^### /m).slice(1)) {
    const heading = section.slice(0, section.indexOf('\n'))
    const isKept = !heading.startsWith('Not kept')
    if (isKept && !isOf(heading)) continue
    const first = isKept
      ? /^\| ((?:[\d.]+(?:, | to )?)+)/gm
      : new RegExp(`^\\| ${standard} ((?:[\\d.]+(?:, )?)+):`, 'gm')
    for (const [, numbers = ''] of section.matchAll(first)) for (const one of spelled(numbers)) found.add(one)
  }
  return found
}

/** `2.5.1, 2.6.1 to 2.6.3` one by one. */
const spelled = (numbers: string): string[] =>
  numbers
    .trim()
    .split(', ')
    .flatMap((one) => {
      const [from = '', to = from] = one.trim().split(' to ')
      const [name, last] = [from.slice(0, from.lastIndexOf('.')), Number(to.split('.').at(-1))]
      const start = Number(from.split('.').at(-1))
      return Array.from({ length: last - start + 1 }, (_, i) => `${name}.${start + i}`)
    })

describe('the rules of docs/security.md', () => {
  it('there are some, and each names its test', () => {
    expect(rows.length).toBeGreaterThan(80)
    expect(rows.filter((row) => !/“[^”]+” \[[\w-]+\]/.test(row))).toEqual([])
    // A title without its file would not be looked for.
    expect(rows.filter((row) => /”(?! \[[\w-]+\])/.test(row))).toEqual([])
  })

  it('are all that the standards have: each is shown, or said not to be kept', () => {
    for (const [standard, { heading, rules }] of Object.entries(STANDARDS)) {
      const told = numbersIn((text) => heading.test(text), standard)
      expect([standard, rules.filter((rule) => !told.has(rule))]).toEqual([standard, []])
      expect([standard, [...told].filter((rule) => !rules.includes(rule))]).toEqual([standard, []])
    }
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

describe('the attacks of docs/identity.md', () => {
  const identity = pages['../docs/identity.md'] as string
  const section = identity.slice(
    identity.indexOf('### What went wrong elsewhere'),
    identity.indexOf('### How it is held'),
  )
  const attacks = section.split('\n').filter((line) => /^\| (?!---|known as)/.test(line))
  const fileOf = (name: string) =>
    Object.entries(tests).find(([path]) => path.endsWith(`/${name}`))?.[1] ?? ''

  it('are each tried by tests that there are', () => {
    expect(attacks.length).toBeGreaterThan(20)
    expect(attacks.filter((row) => !row.includes('“'))).toEqual([])
    const named = attacks.flatMap((row) => [...row.matchAll(/“([^”]+)”(?: in `([^`]+)`)?/g)])
    const missing = named.filter(
      ([, title = '', file = 'oauth-attacks.test.ts']) => !fileOf(file).includes(title),
    )
    expect(missing.map(([text]) => text)).toEqual([])
  })
})
