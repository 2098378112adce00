import type { D1Migration } from 'cloudflare:test'
import type { Bindings } from '../src/env'

declare global {
  namespace Cloudflare {
    interface GlobalProps {
      mainModule: typeof import('../src/index')
    }
    interface Env extends Bindings {
      TEST_MIGRATIONS: D1Migration[]
      RECEIVER_URL: string
      SCHEDULES: string
      SCHEDULE_SEED: string
    }
  }
}

declare module 'vitest' {
  interface ProvidedContext {
    receiverUrl: string
  }
}
