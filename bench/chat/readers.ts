import { type ChildProcess, fork } from 'node:child_process'
import path from 'node:path'
import type { Read, ReadingOrder } from './reading.ts'

/** Where and what is asked to be read. */
export type Source = { port: number; requests: string[]; status?: number }

/** A process full of readers; the clock of what they read is that of whoever writes. */
export class Readers {
  private readonly child: ChildProcess
  private answered: ((answer: { value?: unknown; error?: string }) => void) | null = null

  constructor() {
    this.child = fork(path.join(import.meta.dirname, 'reading.ts'), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.child.on('message', (answer: { value?: unknown; error?: string }) => this.answered?.(answer))
    this.child.on('exit', (code) => this.answered?.({ error: `the readers ended with ${code}` }))
  }

  /** Opens a connection for each request, so many at once, and waits until all are answered. */
  async open({ port, requests, status = 200 }: Source, atOnce = 32): Promise<void> {
    await this.order({ kind: 'open', port, requests, atOnce, status })
  }

  /** Looks for so many words from now on; the first `skip` are left out of what is told of them. */
  async prepare(tag: string, words: number, skip: number): Promise<void> {
    await this.order({ kind: 'prepare', tag, words, skip })
  }

  /** What the open connections have read of those, once all have come or so long later. */
  async finish(patienceMs: number): Promise<Read> {
    return (await this.order({ kind: 'finish', patienceMs })) as Read
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    await this.order({ kind: 'close' })
  }

  stop(): void {
    this.child.removeAllListeners('exit')
    this.child.kill()
  }

  private order(order: ReadingOrder): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.answered = ({ value, error }) => (error === undefined ? resolve(value) : reject(new Error(error)))
      this.child.send(order)
    })
  }
}
