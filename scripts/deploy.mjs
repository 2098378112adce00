// Applies migrations and deploys: npm run deploy -- --env production [--dry-run]
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { copyAssets } from './lib/assets.mjs'
import { deployment } from './lib/cloudflare.mjs'
import { ROOT, wrangler } from './lib/wrangler.mjs'

const { values } = parseArgs({
  options: { env: { type: 'string', default: 'production' }, 'dry-run': { type: 'boolean', default: false } },
})

try {
  const commands = deployment(readFileSync(path.join(ROOT, 'wrangler.toml'), 'utf8'), values.env)
  copyAssets(ROOT)
  for (const args of commands) {
    console.log(`wrangler ${args.join(' ')}`)
    if (!values['dry-run']) console.log(wrangler(args))
  }
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
