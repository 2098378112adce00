// Makes what an environment needs on Cloudflare (once; again changes nothing) and writes its ids to wrangler.toml:
//   npm run setup:cloudflare -- --env production --public-url https://api.example.com [--dry-run]
// Log in first: npx wrangler login. MASTER_KEY is taken from the environment, or made and printed once.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { setUp } from './lib/cloudflare.mjs'
import { ROOT, wrangler } from './lib/wrangler.mjs'

const { values } = parseArgs({
  options: {
    env: { type: 'string', default: 'production' },
    'public-url': { type: 'string' },
    'dry-run': { type: 'boolean', default: false },
  },
})

const file = path.join(ROOT, 'wrangler.toml')

/** Prints each command instead of running it, on an account that holds nothing but what was "made" before. */
function rehearsal() {
  const made = []
  return (args) => {
    console.log(`wrangler ${args.join(' ')}`)
    const [product, name] = [args[0], args.at(-1)]
    if (product === 'd1' || product === 'kv') {
      if (args.includes('create')) made.push({ product, name, title: name, uuid: '(new)', id: '(new)' })
      return JSON.stringify(made.filter((one) => one.product === product))
    }
    if (product === 'secret') return '[]'
    if (args.includes('info')) throw new Error('not there yet')
    return ''
  }
}

try {
  const text = setUp({
    environment: values.env,
    publicUrl: values['public-url'],
    toml: readFileSync(file, 'utf8'),
    run: values['dry-run'] ? rehearsal() : wrangler,
    say: values['dry-run'] ? () => {} : console.log,
    masterKey: process.env.MASTER_KEY,
  })
  if (values['dry-run']) console.log('(dry run: nothing was made, wrangler.toml is as it was)')
  else {
    writeFileSync(file, text)
    console.log(`${values.env} is set up. Next: npm run deploy -- --env ${values.env}`)
  }
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
