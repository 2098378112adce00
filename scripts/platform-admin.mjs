// Makes a platform administrator, or gives one a new password:
//   npm run platform-admin -- --email you@example.com                        the local database
//   npm run platform-admin -- --email you@example.com --env production       a deployed one
// The password is PLATFORM_ADMIN_PASSWORD, or a fresh one that is printed once.
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { makePlatformAdmin } from './lib/platform-admin.mjs'
import { requireInstalled } from './lib/wrangler.mjs'

const { values } = parseArgs({
  options: { email: { type: 'string' }, env: { type: 'string' }, 'state-dir': { type: 'string' } },
})

try {
  if (!values.email) throw new Error('Say who: --email you@example.com')
  const given = process.env.PLATFORM_ADMIN_PASSWORD
  const password = given || randomBytes(18).toString('base64url')
  const stateDir = values['state-dir'] ?? process.env.STATE_DIR ?? '.wrangler/state'
  const where = values.env ? ['--remote', '--env', values.env] : ['--local', '--persist-to', stateDir]
  requireInstalled()
  await makePlatformAdmin({ email: values.email, password, where })
  console.log(`${values.email} is a platform administrator${values.env ? ` of ${values.env}` : ''}.`)
  if (!given) console.log(`Password (shown only now): ${password}`)
} catch (error) {
  console.error(error.message)
  process.exitCode = 1
}
