// What wrangler runs before it deploys (`[env.….build]` in wrangler.toml): makes the document, and the Worker without
// what only that needs. `npm run dev` and the tests go without: they run src as it is.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { copyAssets } from './lib/assets.mjs'
import { bundleWorker, evaluate } from './lib/bundle.mjs'
import { documentOf } from './lib/document.mjs'

const ROOT = path.resolve(import.meta.dirname, '..')

copyAssets(ROOT)
writeFileSync(path.join(ROOT, 'public/openapi.json'), await documentOf(ROOT))
await bundleWorker(ROOT, path.join(ROOT, 'build/index.js'))
// All schemas and routes are made at the start: what they need and is not there shows here.
await evaluate(ROOT, "import './build/index.js'")
