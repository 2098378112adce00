import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Fan } from '../chat/fan.ts'
import { every } from '../chat/words.ts'
import { Posts } from './posts.ts'
import { end, freePort, onPath, untilOpen } from './programs.ts'

/** Where Debian puts what libnginx-mod-nchan brings. */
const MODULE = '/usr/lib/nginx/modules/ngx_nchan_module.so'

/** nginx with nchan, one channel; a word about what is missing where it is not installed. */
export async function startNchan(directory: string): Promise<Fan | { missing: string }> {
  const nginx = onPath('nginx') ?? (existsSync('/usr/sbin/nginx') ? '/usr/sbin/nginx' : null)
  if (nginx === null || !existsSync(MODULE))
    return { missing: 'nginx with nchan is not installed (apt-get install libnginx-mod-nchan)' }
  const port = await freePort()
  const home = path.join(directory, 'nginx')
  mkdirSync(home, { recursive: true })
  const file = path.join(home, 'nginx.conf')
  writeFileSync(file, configuration(home, port))
  const child = spawn(nginx, ['-p', home, '-c', file, '-e', path.join(home, 'start.log')], {
    stdio: 'inherit',
  })
  await untilOpen(child, port)
  const posts = new Posts(port, '/publish', 'application/json')
  const request = 'GET /chat HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n'
  return {
    name: 'nginx, nchan',
    processes: [child.pid ?? 0],
    subscribers: (count) => ({ port, requests: Array.from({ length: count }, () => request) }),
    publish: (words, everyMs, word) =>
      every(everyMs, words, (n) => posts.post(`{"type":"message","data":{"content":"${word(n)}"}}`)),
    stop: async () => {
      posts.close()
      await end(child, 'SIGTERM')
    },
  }
}

/** One worker, as workerd has one thread for a chat; it keeps what a reader who comes back would ask for. */
function configuration(home: string, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `load_module ${MODULE};
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid ${home}/nginx.pid;
error_log ${home}/error.log warn;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000;
${temporary.map((name) => `  ${name}_temp_path ${home}/${name};`).join('\n')}
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location = /publish {
      nchan_publisher http;
      nchan_channel_id chat;
      nchan_message_buffer_length 1000;
      nchan_message_timeout 1h;
    }
    location = /chat {
      nchan_subscriber eventsource;
      nchan_channel_id chat;
      nchan_subscriber_first_message newest;
    }
  }
}
`
}
