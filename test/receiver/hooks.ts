import type { IncomingMessage, ServerResponse } from 'node:http'

export function hooks(request: IncomingMessage, response: ServerResponse): void {
  request.resume()
  response.writeHead(200).end('ok')
}
