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
          SCHEDULES: process.env.SCHEDULES ?? '1000',
          SCHEDULE_SEED: process.env.SCHEDULE_SEED ?? '',
          ENVIRONMENT: 'development',
          PUBLIC_URL: 'http://localhost:8787',
          MASTER_KEY: 'dev_master_key_for_the_tests_only_0123456789',
          ALLOW_PRIVATE_TARGETS: 'true',
          LOG_LEVEL: 'silent',
          TRANSCRIBER: 'openai',
          TRANSCRIBER_URL: `${inject('receiverUrl')}/transcriber/tests`,
          TTS_PROVIDER: 'simulated',
          CALL_PROVIDER: 'simulated',
          CALL_SIMULATED_SPEED: '1000',
          PAYMENTS: 'stripe',
          STRIPE_SECRET_KEY: 'sk_test_of_the_tests',
          STRIPE_BASE_URL: `${inject('receiverUrl')}/stripe`,
          CREDIT_PRICE: '0.5',
          PLAN_PRICES: JSON.stringify({
            pro: { amount: 4900, stripe_price: 'price_pro' },
            enterprise: { amount: 49900, stripe_price: 'price_enterprise' },
          }),
          STRIPE_WEBHOOK_SECRET: 'whsec_stripe_of_the_tests,whsec_stripe_that_was_before',
          TELNYX_PUBLIC_KEY: '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
          ULTRAVOX_WEBHOOK_SECRET: 'ultravox_of_the_tests',
          // RFC 8291, appendix A: its public half is written there.
          VAPID_PRIVATE_KEY: 'q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94',
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
    // What hangs is found all the same; a busy machine takes five times as long as a quiet one.
    testTimeout: 30_000,
    hookTimeout: 30_000,
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
