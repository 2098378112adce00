// npm test: every check there is, each to its end whatever the ones before found. The last line counts them all.
import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { copyAssets } from './lib/assets.mjs'
import { ROOT } from './lib/wrangler.mjs'

const folder = mkdtempSync(path.join(tmpdir(), 'causeway-test-'))
const total = { passed: 0, failed: 0, skipped: 0 }
/** What failed, said again at the end: where only the last lines are kept, they tell. */
const failures = []

/** Runs a package's command with what it prints on show; answers whether it succeeded. */
function run(title, bin, args) {
  console.log(`\n── ${title} ${'─'.repeat(Math.max(0, 90 - title.length))}\n`)
  const command = path.join(ROOT, 'node_modules', bin)
  const env = {
    ...process.env,
    CI: '1',
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    WRANGLER_SEND_METRICS: 'false',
  }
  return spawnSync(process.execPath, [command, ...args], { cwd: ROOT, stdio: 'inherit', env }).status === 0
}

/** One check that either passes or fails. */
function check(title, bin, args) {
  if (run(title, bin, args)) {
    total.passed += 1
    return
  }
  total.failed += 1
  failures.push(title)
}

/** A run of many tests: its own counts, and one failure more where it failed without naming a test. */
function add(counts, succeeded) {
  for (const name of Object.keys(total)) total[name] += counts[name]
  if (!succeeded && counts.failed === 0) total.failed += 1
}

/** The beginning of what was thrown, and where. */
function firstLines(message) {
  return message
    .split('\n', 6)
    .map((line) => `  ${line}`)
    .join('\n')
}

function vitest() {
  const file = path.join(folder, 'vitest.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`]
  const succeeded = run('unit and integration tests, in workerd', 'vitest/vitest.mjs', [
    'run',
    '--coverage',
    ...reporters,
  ])
  const counts = { passed: 0, failed: 0, skipped: 0 }
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'))
    counts.passed = report.numPassedTests
    counts.failed = report.numFailedTests
    counts.skipped = report.numPendingTests + report.numTodoTests
    for (const { name, message, assertionResults } of report.testResults) {
      const failed = assertionResults.filter(({ status }) => status === 'failed')
      const at = path.relative(ROOT, name)
      for (const test of failed)
        failures.push(`${at}: ${test.fullName}\n${firstLines(test.failureMessages[0])}`)
      if (failed.length === 0 && message) failures.push(`${at}\n${firstLines(message)}`)
    }
  } catch {
    // No report: it fell over before its first test, and counts as one failure.
  }
  add(counts, succeeded)
}

function endToEnd() {
  const title = 'contracts, and end-to-end tests against wrangler dev'
  const file = path.join(folder, 'end-to-end.tap')
  const reporters = [
    ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
    ...['--test-reporter=tap', `--test-reporter-destination=${file}`],
  ]
  const files = globSync(['test/pact/*.test.mjs', 'test/end-to-end/*.test.mjs'], { cwd: ROOT }).sort()
  console.log(`\n── ${title} ${'─'.repeat(Math.max(0, 90 - title.length))}\n`)
  // One file at a time: each starts a service of its own, and kills it.
  const args = ['--test', '--test-concurrency=1', ...reporters, ...files]
  const succeeded = spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' }).status === 0
  let report = ''
  try {
    report = readFileSync(file, 'utf8')
  } catch {
    // As above.
  }
  for (const [, indent, name] of report.matchAll(/^( *)not ok \d+ - (.*)$/gm))
    failures.push(`${indent}${name}`)
  const count = (name) => Number(new RegExp(`^# ${name} (\\d+)$`, 'm').exec(report)?.[1] ?? 0)
  add(
    {
      passed: count('pass'),
      failed: count('fail') + count('cancelled'),
      skipped: count('skipped') + count('todo'),
    },
    succeeded,
  )
}

copyAssets(ROOT)
check('types', 'typescript/bin/tsc', ['--noEmit'])
check('lint and format', '@biomejs/biome/bin/biome', ['ci', '--colors=off', '.'])
vitest()
endToEnd()
rmSync(folder, { recursive: true, force: true })

if (failures.length > 0) console.log(`\nfailed:\n${failures.join('\n')}`)
const { passed, failed, skipped } = total
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exitCode = failed > 0 ? 1 : 0
