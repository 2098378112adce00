// Documents as their readers use them: the shell lines of a page are run, and what the page says is seen must be seen.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import path from 'node:path'
import { ROOT, temporaryFolder, waitFor } from './harness.mjs'

const FENCE = /^```(\w+)\n([\s\S]*?)^```$/gm

/**
 * The `sh` blocks of a page in order: `{ script, seen }`, where `seen` is the `text` or `json` block right below, that
 * says what is printed; `…` in it stands for anything.
 */
export function shellBlocks(markdown) {
  const blocks = []
  let end = -1
  for (const { 0: whole, 1: language, 2: text, index } of markdown.matchAll(FENCE)) {
    const below = end >= 0 && markdown.slice(end, index).trim() === ''
    end = -1
    if (language === 'sh') {
      blocks.push({ script: text, seen: null })
      end = index + whole.length
    } else if (below && (language === 'text' || language === 'json')) blocks.at(-1).seen = text
  }
  return blocks
}

/** The blocks of one language, such as `js`. */
export function codeBlocks(markdown, language) {
  return [...markdown.matchAll(FENCE)].filter((match) => match[1] === language).map((match) => match[2])
}

/**
 * A terminal in the project's folder, with the machine's own programs; all that it started ends with the test `t`.
 * `run(script)` answers what was printed until the script's last line was done, by background jobs too.
 */
export function openShell(t, env = {}) {
  // A folder that looks like the project's, so that what lines write to it is thrown away.
  const cwd = temporaryFolder(t)
  for (const name of ['docs', 'node_modules', 'package.json', 'scripts'])
    symlinkSync(path.join(ROOT, name), path.join(cwd, name))
  const PATH = process.env.PATH.split(':').filter((folder) => !folder.includes('node_modules'))
  const child = spawn('bash', ['--noprofile', '--norc'], {
    cwd,
    env: { ...process.env, ...env, PATH: PATH.join(':') },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      printed += chunk
    })
  t.after(() => {
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {
      // Nothing of it is left.
    }
  })
  let count = 0
  return {
    cwd,
    async run(script, patience = 30_000) {
      const from = printed.length
      const mark = `-- end of lines ${++count} --`
      child.stdin.write(`${script}\nprintf '\\n%s\\n' '${mark}'\n`)
      await waitFor(() => printed.includes(`${mark}\n`), patience, `\n${script}\n${printed.slice(from)}`)
      return printed.slice(from).replace(`\n${mark}\n`, '')
    },
    /** All that was printed since the beginning. */
    printed: () => printed,
  }
}

/** Runs one block and holds it to what its page says; without a word on that, nothing may go wrong. */
export async function follow(shell, { script, seen }, patience) {
  const output = await shell.run(script, patience)
  if (seen === null)
    assert.doesNotMatch(output, /"error":\{|command not found|curl: \(|SyntaxError/, `${script}\n${output}`)
  else assert.match(spaceless(output), asPattern(seen), `${script}\n${output}`)
  return output
}

const spaceless = (text) => text.replace(/\s+/g, '')

function asPattern(seen) {
  const pieces = spaceless(seen).split('…')
  return new RegExp(pieces.map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[\\s\\S]*?'))
}
