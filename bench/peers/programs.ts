import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import net from 'node:net'
import path from 'node:path'

/** A program that was started: where it listens, and how it ends. */
export type Program = { port: number; pid: number; stop: () => Promise<void> }

/** Where Debian's redis-server and PostgreSQL are; a word about what is missing where one is. */
export function findPrograms(): { redis: string; postgres: string } | { missing: string } {
  const redis = onPath('redis-server')
  const postgres = postgresDirectory()
  if (redis === null) return { missing: 'redis-server is not installed (apt-get install redis-server)' }
  if (postgres === null) return { missing: 'PostgreSQL is not installed (apt-get install postgresql)' }
  return { redis, postgres }
}

/** Where a program is; null where it is not installed. */
export function onPath(name: string): string | null {
  const folders = (process.env.PATH ?? '').split(':')
  return folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file)) ?? null
}

/** The folder of the newest version's programs. */
function postgresDirectory(): string | null {
  const all = '/usr/lib/postgresql'
  const versions = existsSync(all) ? readdirSync(all).sort((a, b) => Number(b) - Number(a)) : []
  const folders = versions.map((version) => path.join(all, version, 'bin'))
  const initdb = onPath('initdb')
  return (
    [...folders, ...(initdb ? [path.dirname(initdb)] : [])].find((folder) =>
      existsSync(path.join(folder, 'initdb')),
    ) ?? null
  )
}

/** Redis as BullMQ's documentation has it for production: an append-only file, written out each second, no eviction. */
export async function startRedis(program: string, directory: string): Promise<Program> {
  mkdirSync(directory, { recursive: true })
  const port = await freePort()
  const settings = {
    ...{ port: String(port), bind: '127.0.0.1', dir: directory, save: '' },
    ...{ appendonly: 'yes', appendfsync: 'everysec', 'maxmemory-policy': 'noeviction' },
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  const child = spawn(program, args, { stdio: 'ignore' })
  await untilOpen(child, port)
  return { port, pid: child.pid ?? 0, stop: () => end(child, 'SIGTERM') }
}

/** PostgreSQL as it comes: every commit is on disk before it is answered. */
export async function startPostgres(programs: string, directory: string): Promise<Program> {
  mkdirSync(directory, { recursive: true })
  const port = await freePort()
  const user = ownUser()
  if ('uid' in user) {
    chownSync(directory, user.uid, user.gid)
    // What mkdtemp makes, nobody else may enter.
    chmodSync(path.dirname(directory), 0o711)
  }
  const made = spawnSync(
    path.join(programs, 'initdb'),
    ['-D', directory, '-U', 'bench', '-A', 'trust', '-E', 'UTF8', '--no-sync'],
    { ...user, encoding: 'utf8', cwd: '/' },
  )
  if (made.status !== 0) throw new Error(`initdb failed:\n${made.stderr}`)
  const settings = ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=']
  const child = spawn(path.join(programs, 'postgres'), ['-D', directory, '-p', String(port), ...settings], {
    ...user,
    stdio: 'ignore',
    cwd: '/',
  })
  await untilOpen(child, port)
  return { port, pid: child.pid ?? 0, stop: () => end(child, 'SIGINT') }
}

/** PostgreSQL refuses to run as root: its package brings a user for it. */
function ownUser(): { uid: number; gid: number } | Record<string, never> {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/** A port that nobody listens on at the moment. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = net.createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => (address && typeof address === 'object' ? resolve(address.port) : reject()))
    })
  })
}

/** Waits until somebody listens on `port`; throws where the program ends before. */
export async function untilOpen(child: ChildProcess, port: number): Promise<void> {
  for (const until = Date.now() + 20_000; Date.now() < until; ) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`)
    if (await isOpen(port)) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${child.spawnfile} did not listen on ${port} within 20 s`)
}

const isOpen = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = net.connect({ port, host: '127.0.0.1' })
    socket.on('connect', () => resolve(true))
    socket.on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })

/** Sends `signal` and waits for the end. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  child.kill(signal)
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await ended
  clearTimeout(timer)
}
