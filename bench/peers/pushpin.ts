import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import type { Fan } from '../chat/fan.ts'
import { every } from '../chat/words.ts'
import { Posts } from './posts.ts'
import { end, freePort, onPath, untilOpen } from './programs.ts'

const PROGRAMS = ['pushpin', 'pushpin-proxy', 'pushpin-handler', 'condure', 'zurl']

/**
 * Pushpin with the programs that it is made of, and before it an origin in this process, which tells it to hold each
 * request as a stream; a word about what is missing where it is not installed.
 */
export async function startPushpin(directory: string): Promise<Fan | { missing: string }> {
  if (PROGRAMS.some((name) => onPath(name) === null))
    return { missing: 'pushpin is not installed (apt-get install pushpin)' }
  const origin = await startOrigin()
  const [port, control] = [await freePort(), await freePort()]
  const home = path.join(directory, 'pushpin')
  for (const folder of ['run', 'log']) mkdirSync(path.join(home, folder), { recursive: true })
  writeFileSync(path.join(home, 'routes'), `* 127.0.0.1:${origin.port}\n`)
  writeFileSync(path.join(home, 'pushpin.conf'), await configuration(home, port, control))
  writeFileSync(path.join(home, 'zurl.conf'), zurlConfiguration(home))
  const quiet = { stdio: 'ignore' as const }
  const children: ChildProcess[] = [
    spawn('zurl', [`--config=${home}/zurl.conf`], quiet),
    spawn('pushpin', [`--config=${home}/pushpin.conf`], quiet),
  ]
  for (const open of [port, control]) await untilOpen(children[1] as ChildProcess, open)
  const posts = new Posts(control, '/publish/', 'application/json')
  const request = 'GET /chat HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n'
  return {
    name: 'pushpin',
    processes: children.map(({ pid }) => pid ?? 0),
    subscribers: (count) => ({ port, requests: Array.from({ length: count }, () => request) }),
    publish: (words, everyMs, word) =>
      every(everyMs, words, (n) => {
        const content = `id: ${n}\ndata: {"type":"message","data":{"content":"${word(n)}"}}\n\n`
        posts.post(JSON.stringify({ items: [{ channel: 'chat', formats: { 'http-stream': { content } } }] }))
      }),
    stop: async () => {
      posts.close()
      await Promise.all(children.map((child) => end(child, 'SIGTERM')))
      origin.stop()
    },
  }
}

/** What decides on each request, as a service behind Pushpin does. */
async function startOrigin(): Promise<{ port: number; stop: () => void }> {
  const server = http.createServer((_, response) => {
    const held = { 'Grip-Hold': 'stream', 'Grip-Channel': 'chat' }
    response.writeHead(200, { 'Content-Type': 'text/event-stream', ...held })
    response.end(': open\n\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  return { port: (server.address() as AddressInfo).port, stop }
}

/** As Debian has it but for places and ports, and without its bound of 2,500 messages a second. */
async function configuration(home: string, port: number, control: number): Promise<string> {
  const [pull, sub, command] = [await freePort(), await freePort(), await freePort()]
  const zurl = (name: string) => `ipc://${home}/run/zurl-${name}`
  return `[global]
include={libdir}/internal.conf
rundir=${home}/run
ipc_prefix=bench-
port_offset=0
stats_connection_ttl=120

[runner]
services=condure,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:${port}
logdir=${home}/log
log_level=1
client_buffer_size=8192
client_maxconn=8192

[proxy]
routesfile=${home}/routes
zurl_out_specs=${zurl('in')}
zurl_out_stream_specs=${zurl('in-stream')}
zurl_in_specs=${zurl('out')}

[handler]
push_in_spec=tcp://127.0.0.1:${pull}
push_in_sub_specs=tcp://127.0.0.1:${sub}
push_in_sub_connect=false
push_in_http_addr=127.0.0.1
push_in_http_port=${control}
push_in_http_max_headers_size=10000
push_in_http_max_body_size=1000000
stats_spec=ipc://{rundir}/{ipc_prefix}stats
command_spec=tcp://127.0.0.1:${command}
message_rate=1000000
message_hwm=1000000
connection_subscription_max=20
`
}

const zurlConfiguration = (home: string) => `[General]
in_spec=ipc://${home}/run/zurl-in
in_stream_spec=ipc://${home}/run/zurl-in-stream
out_spec=ipc://${home}/run/zurl-out
in_req_spec=ipc://${home}/run/zurl-req
ipc_file_mode=600
defpolicy=allow
max_open_requests=4096
buffer_size=200000
timeout=600
`
