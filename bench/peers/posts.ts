import http from 'node:http'

/** Posts to one place, one after the other, over one connection where the other side keeps it. */
export class Posts {
  private readonly agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  private readonly options: http.RequestOptions
  private failed: Error | null = null

  constructor(port: number, path: string, contentType: string) {
    const headers = { 'Content-Type': contentType }
    this.options = { host: '127.0.0.1', port, path, method: 'POST', headers, agent: this.agent }
  }

  /** Does not wait; what goes wrong is thrown by the next. */
  post(body: string): void {
    if (this.failed) throw this.failed
    const request = http.request(this.options, (answer) => {
      if (answer.statusCode !== 200 && answer.statusCode !== 201 && answer.statusCode !== 202)
        this.failed = new Error(`a word was answered ${answer.statusCode}`)
      answer.resume()
    })
    request.on('error', (error) => {
      this.failed = error
    })
    request.end(body)
  }

  close(): void {
    this.agent.destroy()
  }
}
