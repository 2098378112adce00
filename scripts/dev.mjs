// npm run dev: a working service on this machine, with no account, no network and no question asked.
import net from 'node:net'
import { copyAssets } from './lib/assets.mjs'
import { curlLines, Demo, seed } from './lib/demo.mjs'
import { devVar, ensureDevVars } from './lib/dev-vars.mjs'
import { makePlatformAdmin } from './lib/platform-admin.mjs'
import { migrateLocally, ROOT, requireInstalled, startWorker, untilHealthy } from './lib/wrangler.mjs'

/** How long a stopped service may take before it is killed. */
const STOP_MS = 5_000

const port = Number(process.env.PORT ?? 8787)
const stateDir = process.env.STATE_DIR ?? '.wrangler/state'

let child
let stopping = false

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop)

try {
  await start()
} catch (error) {
  if (!stopping) console.error(`\n${error.message}\n`)
  process.exitCode = stopping ? 0 : 1
  child?.kill('SIGTERM')
}

async function start() {
  requireInstalled()
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new Error(`PORT=${process.env.PORT} is no port`)
  await refuseBusyPort()
  if (ensureDevVars(ROOT)) console.log('Made .dev.vars with a fresh MASTER_KEY.')
  const demo = new Demo(stateDir, devVar(ROOT, 'MASTER_KEY') ?? '', devVar(ROOT, 'MASTER_KEY_PREVIOUS'))
  copyAssets(ROOT)
  console.log(`Applying migrations to ${stateDir} …`)
  migrateLocally(stateDir)
  await demo.once('has_platform_admin', async () => {
    await makePlatformAdmin({ ...demo.known.platform_admin, where: ['--local', '--persist-to', stateDir] })
    return true
  })
  if (stopping) return
  console.log('Starting …')
  const url = `http://localhost:${port}`
  const vars = devVar(ROOT, 'PUBLIC_URL') ? {} : { PUBLIC_URL: url }
  // In a group of its own: Ctrl-C reaches this script only, and the last resort reaches all that wrangler started.
  child = startWorker({ port, stateDir, vars, detached: true })
  process.on('exit', killGroup)
  const output = holdOutput(child)
  child.on('exit', (code) => {
    if (!stopping) output.show()
    process.exitCode ??= stopping ? 0 : (code ?? 1)
  })
  try {
    await untilHealthy(url, child)
    await seed(url, demo)
  } catch (error) {
    if (!stopping) output.show()
    throw error
  }
  console.log(welcome(url, demo.known))
  output.follow()
}

/** Someone else's answer on this port would look like ours. */
function refuseBusyPort() {
  return new Promise((resolve, reject) => {
    const probe = net.createServer()
    probe.once('error', (error) => {
      const reason = error.code === 'EADDRINUSE' ? 'is in use' : `can't be opened (${error.code})`
      reject(new Error(`Port ${port} ${reason}. Free it, or choose another: PORT=${port + 1} npm run dev`))
    })
    probe.listen(port, '127.0.0.1', () => probe.close(resolve))
  })
}

/** Keeps what the child prints until it is wanted: at an error all of it, after the welcome only what is new. */
function holdOutput(source) {
  let held = []
  let following = false
  const take = (stream) => (chunk) => {
    if (following) return stream.write(chunk)
    held.push([stream, chunk])
    // A source file that does not compile, say: wrangler waits until it is mended, and so do we.
    if (String(chunk).includes('ERROR')) show()
  }
  source.stdout.on('data', take(process.stdout))
  source.stderr.on('data', take(process.stderr))
  const follow = () => {
    following = true
    held = []
  }
  const show = () => {
    for (const [stream, chunk] of held) stream.write(chunk)
    follow()
  }
  return { follow, show }
}

function welcome(url, { login, platform_admin: admin, api_key: key, ...known }) {
  const lines = curlLines(url, { api_key: key, ...known })
  return `
Causeway is running at ${url}

  Documentation    ${url}/docs   (reference: ${url}/redoc)
  Demo login       ${login.email}  ${login.password}
  API key          ${key}
  Platform admin   ${admin.email}  ${admin.password}

Three things to try:

${lines.map((line) => `  ${line}\n`).join('\n')}
Data is in ${stateDir}. Ctrl-C stops the service; the next start goes on with the same data.
`
}

function stop() {
  // Asked twice, or not gone in time: no more patience.
  if (stopping) killGroup()
  stopping = true
  if (!child) process.exit(0)
  child.kill('SIGTERM')
  setTimeout(killGroup, STOP_MS).unref()
}

function killGroup() {
  if (!child) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has gone by itself.
  }
}
