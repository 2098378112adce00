// The OpenAPI document as its readers use it: a linter, a generated client, and the two pages in a browser.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import * as esbuild from 'esbuild'
import { generate } from 'openapi-typescript-codegen'
import { chromium } from 'playwright-core'
import { ROOT, signUp, startService, temporaryFolder } from './harness.mjs'

function run(command, args, options = {}) {
  const done = spawnSync(process.execPath, [path.join(ROOT, 'node_modules', command), ...args], {
    encoding: 'utf8',
    ...options,
  })
  return { status: done.status, output: done.stdout + done.stderr }
}

/** A program of the API's user; what is marked as an error must be one, so that the types are not just `any`. */
const PROGRAM = `
import { AuthenticationService, InteractionsService, OpenAPI, TeamsService, type Interaction } from './client'

export async function program(base: string, email: string, password: string): Promise<Interaction[]> {
  OpenAPI.BASE = base
  const login = await AuthenticationService.postAuthLogin({ email, password })
  const token: string = login.data.access_token ?? ''
  OpenAPI.TOKEN = token
  const made = await InteractionsService.postInteractions({ text: 'by the generated client' })
  const id: string = made.data.id
  const list = await InteractionsService.getInteractions(10)
  const next: string | null = list.meta.next_cursor
  if (next !== null || list.data[0]?.id !== id) throw new Error('the list does not begin with it')
  return list.data
}

export function refused() {
  // @ts-expect-error a name is required
  void TeamsService.postTeams({ description: 'x' })
  // @ts-expect-error no such field
  void InteractionsService.postInteractions({ text: 'x', colour: 'red' })
  // @ts-expect-error a list is no interaction
  void InteractionsService.getInteractions().then((answer) => answer.data.text)
}
`

test('the OpenAPI document', { timeout: 600_000 }, async (t) => {
  const service = await startService(t)
  const folder = temporaryFolder(t)
  const file = path.join(folder, 'openapi.json')
  const document = await (await fetch(`${service.url}/openapi.json`)).json()
  writeFileSync(file, JSON.stringify(document))

  await t.test('redocly lint finds nothing', () => {
    const lint = run('@redocly/cli/bin/cli.js', ['lint', file, '--config', path.join(ROOT, 'redocly.yaml')], {
      env: {
        ...process.env,
        REDOCLY_TELEMETRY: 'off',
        REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
        NO_COLOR: '1',
      },
    })
    assert.equal(lint.status, 0, lint.output)
    assert.match(lint.output, /is valid/)
    assert.doesNotMatch(lint.output, /warning/i)
  })

  await t.test('makes a typed client that compiles under strict rules, and works', async () => {
    await generate({
      input: file,
      output: path.join(folder, 'client'),
      httpClient: 'fetch',
      useUnionTypes: true,
    })
    writeFileSync(path.join(folder, 'program.ts'), PROGRAM)
    const compilerOptions = {
      ...{ strict: true, noEmit: true, target: 'es2022', module: 'esnext', moduleResolution: 'bundler' },
      ...{ lib: ['es2023', 'dom'], types: [] },
    }
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['.'] }))
    const types = run('typescript/bin/tsc', ['-p', folder])
    assert.equal(types.status, 0, types.output)

    const bundle = path.join(folder, 'program.mjs')
    await esbuild.build({
      entryPoints: [path.join(folder, 'program.ts')],
      outfile: bundle,
      bundle: true,
      format: 'esm',
    })
    const { program } = await import(pathToFileURL(bundle).href)
    const { login } = await signUp(service)
    const [interaction] = await program(service.url, login.email, login.password)
    assert.equal(interaction.text, 'by the generated client')
  })

  const browserAt = [
    process.env.CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ]
    .filter(Boolean)
    .find(existsSync)
  const skip = browserAt ? false : 'no chromium was found; name one in CHROMIUM'

  await t.test('in a browser', { skip }, async (t) => {
    const browser = await chromium.launch({
      executablePath: browserAt,
      args: ['--no-sandbox', '--disable-dev-shm-usage'],
    })
    t.after(() => browser.close())

    /** A page that keeps its complaints, and whatever it asks of another host. */
    async function open(where) {
      const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } })
      const wrong = []
      page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()))
      page.on('pageerror', (error) => wrong.push(error.message))
      page.on('request', (request) => {
        const url = new URL(request.url())
        if (/^https?:$/.test(url.protocol) && url.origin !== service.url) wrong.push(`asked ${request.url()}`)
      })
      await page.goto(service.url + where)
      return { page, wrong }
    }

    await t.test('Swagger UI tries an operation with a token', async (t) => {
      const { token, tenant } = await signUp(service)
      const { page, wrong } = await open('/docs')
      t.after(() => page.close())
      await page.getByRole('button', { name: 'Authorize' }).click()
      await page.locator('#auth-bearer-value').fill(token)
      await page.locator('.auth-btn-wrapper .authorize').first().click()
      await page.locator('.btn-done').first().click()
      const operation = page.locator('#operations-Tenants-getTenantsCurrent')
      await page.locator('#operations-tag-Tenants').click()
      await operation.locator('.opblock-summary-control').click()
      await operation.getByRole('button', { name: 'Try it out' }).click()
      await operation.getByRole('button', { name: 'Execute' }).click()
      const answer = operation.locator('.live-responses-table tbody .response-col_description')
      await answer.getByText(tenant.slug).first().waitFor({ timeout: 10_000 })
      assert.equal(
        await operation.locator('.live-responses-table tbody .response-col_status').textContent(),
        '200',
      )
      await shoot(page, 'docs')
      assert.deepEqual(wrong, [])
    })

    await t.test('ReDoc shows every operation', async (t) => {
      const { page, wrong } = await open('/redoc')
      t.after(() => page.close())
      await page.getByRole('heading', { name: 'Register something said' }).waitFor()
      const summaries = Object.values(document.paths).flatMap((methods) =>
        Object.values(methods).map((operation) => operation.summary),
      )
      const text = await page.locator('body').textContent()
      assert.deepEqual(
        summaries.filter((summary) => !text.includes(summary)),
        [],
      )
      await shoot(page, 'redoc')
      assert.deepEqual(wrong, [])
    })
  })
})

/** For looking at: SCREENSHOTS=folder npm test. */
async function shoot(page, name) {
  if (process.env.SCREENSHOTS)
    await page.screenshot({ path: path.join(process.env.SCREENSHOTS, `${name}.png`) })
}
