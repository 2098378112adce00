import path from 'node:path'
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  plugins: [
    cloudflareTest(async ({ inject }) => ({
      wrangler: { configPath: './wrangler.toml' },
      miniflare: {
        // As `[[send_email]]` in wrangler.toml would bind it; only one receiver is allowed.
        email: { send_email: [{ name: 'EMAIL', allowed_destination_addresses: ['allowed@example.com'] }] },
        bindings: {
          TEST_MIGRATIONS: await readD1Migrations(path.join(import.meta.dirname, 'migrations')),
          RECEIVER_URL: inject('receiverUrl'),
          ENVIRONMENT: 'development',
          PUBLIC_URL: 'http://localhost:8787',
          MASTER_KEY: 'dev_master_key_for_the_tests_only_0123456789',
          ALLOW_PRIVATE_TARGETS: 'true',
          LOG_LEVEL: 'silent',
        },
      },
    })),
  ],
  test: {
    globalSetup: ['./test/receiver.ts'],
    setupFiles: ['./test/setup.ts'],
    include: ['test/**/*.test.ts'],
    exclude: ['test/end-to-end/**'],
    // Each test makes its own tenant, so files can share the storage; one isolate is three times as fast as one per file.
    isolate: false,
    maxWorkers: 1,
    // An exception that an object throws is reported here too, although the caller caught it.
    onUnhandledError: (error) => !('remote' in error && 'durableObjectId' in error),
    coverage: {
      provider: 'istanbul',
      include: ['src/**'],
      exclude: ['src/console/**'],
      reporter: ['text-summary', 'json-summary'],
      thresholds: { lines: 85 },
    },
  },
})
