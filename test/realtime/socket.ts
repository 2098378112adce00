import { call } from '../world'

export type Frame = { type: string; channel?: string; data?: Record<string, unknown>; id?: string } & Record<
  string,
  unknown
>

/** A client of /realtime/ws that keeps what it is sent. */
export class Client {
  readonly seen: Frame[] = []
  closed: { code: number; reason: string } | null = null
  private signal: () => void = () => {}

  private constructor(readonly socket: WebSocket) {
    socket.addEventListener('message', ({ data }) => {
      this.seen.push(JSON.parse(`${data}`) as Frame)
      this.signal()
    })
    socket.addEventListener('close', ({ code, reason }) => {
      this.closed = { code, reason }
      this.signal()
    })
    socket.accept()
  }

  /** A socket that the service, or another than that of all tests, opens. */
  static async open(headers: Record<string, string> = {}, ask: typeof call = call): Promise<Client> {
    const answer = await ask('GET', '/realtime/ws', { headers: { Upgrade: 'websocket', ...headers } })
    if (!answer.webSocket) throw new Error(`no socket: ${answer.status} ${await answer.text()}`)
    return new Client(answer.webSocket)
  }

  /** A socket that says who it is for. */
  static async of(token: string): Promise<Client> {
    const client = await Client.open()
    client.send({ type: 'auth', token: `Bearer ${token}` })
    await client.next('ready')
    return client
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /** Subscribes, and answers with what the channel says first. */
  async subscribe(channel: string, after?: string): Promise<Frame> {
    this.send({ type: 'subscribe', channel, ...(after === undefined ? {} : { after }) })
    return this.next('subscribed')
  }

  /** Takes the frames up to the next of a type, and answers with that. */
  async next(type: string, ms = 5_000): Promise<Frame> {
    return this.wait(
      () => {
        const at = this.seen.findIndex((frame) => frame.type === type)
        return at < 0 ? null : (this.seen.splice(0, at + 1)[at] ?? null)
      },
      `${type}; there is ${JSON.stringify(this.seen)} ${JSON.stringify(this.closed)}`,
      ms,
    )
  }

  /** The code that it was closed with. */
  async end(ms = 5_000): Promise<number> {
    return this.wait(() => this.closed?.code ?? null, 'the end', ms)
  }

  private async wait<T>(look: () => T | null, what: string, ms: number): Promise<T> {
    const until = Date.now() + ms
    for (;;) {
      const found = look()
      if (found !== null) return found
      if (Date.now() > until) throw new Error(`waited for ${what}`)
      await new Promise<void>((resolve) => {
        this.signal = resolve
        setTimeout(resolve, 50)
      })
    }
  }
}
