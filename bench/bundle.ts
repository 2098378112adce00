import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { bundleWorker } from '../scripts/lib/bundle.mjs'

export const ROOT = path.resolve(import.meta.dirname, '..')
const WRANGLER = path.join(ROOT, 'node_modules/wrangler/bin/wrangler.js')

/** A worker as wrangler would upload it. */
export type Bundle = { file: string; bytes: number; gzipped: number }

/** Bundles the Worker into `directory` as it is deployed to production, or another `entry` as `config` says. */
export function bundle(entry: string | null, directory: string, config?: string): Bundle {
  mkdirSync(directory, { recursive: true })
  const settings = config ? ['--config', config] : ['--env', 'production']
  const args = ['deploy', ...(entry ? [entry] : []), ...settings, '--dry-run', '--outdir', directory]
  const done = spawnSync(process.execPath, [WRANGLER, ...args], {
    cwd: ROOT,
    env: { ...process.env, CI: '1', WRANGLER_SEND_METRICS: 'false', WRANGLER_HIDE_BANNER: 'true' },
    encoding: 'utf8',
  })
  if (done.status !== 0)
    throw new Error(`${entry ?? 'The Worker'} can't be bundled:\n${done.stdout}${done.stderr}`)
  const file = path.join(directory, path.basename(entry ?? 'index.ts').replace(/\.ts$/, '.js'))
  const text = readFileSync(file)
  return { file, bytes: text.byteLength, gzipped: gzipSync(text, { level: 9 }).byteLength }
}

/** What counts a request, as src/app.ts calls it. */
const COUNTING = ['requestMetrics', 'usageMeter', 'admitAddress', 'admitTenant']

/** The service without limits, usage and metrics: what it is measured against. */
export async function bundleUncounted(directory: string): Promise<Bundle> {
  // Within the project, so that its dependencies are found.
  const copy = path.join(ROOT, 'node_modules/.cache/causeway-bench')
  rmSync(copy, { recursive: true, force: true })
  try {
    for (const part of ['src', 'package.json', 'tsconfig.json', 'wrangler.toml'])
      cpSync(path.join(ROOT, part), path.join(copy, part), { recursive: true })
    const file = path.join(copy, 'src/app.ts')
    const [imports = '', calls = ''] = readFileSync(file, 'utf8').split(/^(?=export const app)/m)
    const text = COUNTING.reduce((before, word) => {
      const after = before.replace(new RegExp(`\\b${word}\\b,?`), '')
      if (after === before) throw new Error(`src/app.ts does not call ${word}`)
      return after
    }, calls)
    writeFileSync(file, imports + text)
    // As the service itself is made, or the way of making would be measured too.
    const worker = path.join(copy, 'build/index.js')
    await bundleWorker(copy, worker)
    // Wrangler would take the settings that lie nearest.
    rmSync(path.join(copy, 'wrangler.toml'))
    return bundle(worker, directory)
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

/**
 * A command that runs workerd with its log thrown away by the kernel: Miniflare parses every line of it in this
 * process, which would be charged to the service that logs and not to the floor that does not.
 */
export function quietWorkerd(directory: string): string {
  const file = path.join(directory, 'workerd.sh')
  const { default: workerd } = createRequire(import.meta.resolve('miniflare'))('workerd')
  writeFileSync(file, `#!/bin/sh\nexec '${workerd}' "$@" >/dev/null\n`, { mode: 0o755 })
  return file
}
