// The links of the mails, followed as people do: in a browser.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { chromium } from 'playwright-core'
import { browserAt, call, must, noBrowser, signUp, startService, waitFor } from './harness.mjs'

const PASSWORD = 'a long and unusual phrase'

test('the pages that mails lead to', { timeout: 600_000, skip: noBrowser }, async (t) => {
  const service = await startService(t)
  const browser = await chromium.launch({ executablePath: browserAt, args: ['--no-sandbox'] })
  t.after(() => browser.close())
  const page = await browser.newPage()
  const complaints = []
  page.on('console', (line) => line.type() === 'error' && complaints.push(line.text()))
  page.on('pageerror', (error) => complaints.push(String(error)))

  const someone = () => `someone-${randomBytes(4).toString('hex')}@example.com`
  const link = async (to, path) => {
    const own = (mail) => mail.to === to && mail.text.includes(`${path}#token=`)
    const newest = async () => (await must(service, 'GET', '/api/v1/dev/mail')).filter(own)
    await waitFor(async () => (await newest()).length > 0, 10_000, `a mail to ${path}`)
    const [mail] = await newest()
    const [, token] = new RegExp(`${path}#token=(\\S+)`).exec(mail.text)
    return `${service.url}${path}#token=${token}`
  }
  const submit = () => page.locator('button').click()
  const says = (words) => page.getByText(words).waitFor({ timeout: 10_000 })
  const register = (email, password) =>
    must(service, 'POST', '/api/v1/auth/register', { body: { email, password } })
  const logIn = (email, password) =>
    call(service, 'POST', '/api/v1/auth/login', { body: { email, password } })

  const email = someone()
  await t.test('confirms an address, and keeps the token out of the address bar', async () => {
    await register(email, PASSWORD)
    await page.goto(await link(email, '/verify-email'))
    assert.equal(new URL(page.url()).hash, '')
    await submit()
    await says('Your address is confirmed')
  })

  await t.test('asks for a link, refuses a weak password at its field, and changes it', async () => {
    await page.goto(`${service.url}/forgot-password`)
    await page.getByLabel('Email').fill(email)
    await submit()
    await says('a mail is on its way')
    await page.goto(await link(email, '/reset-password'))
    await page.getByLabel('New password').fill('short')
    await submit()
    await page.locator('#password-why').waitFor()
    assert.equal(await page.getByLabel('New password').getAttribute('aria-invalid'), 'true')
    await page.getByLabel('New password').fill(`${PASSWORD} anew`)
    await submit()
    await says('Your password is changed')
    assert.equal((await logIn(email, PASSWORD)).status, 401)
    assert.equal((await logIn(email, `${PASSWORD} anew`)).status, 200)
  })

  await t.test('asks for the password of an account that replaced a registration', async () => {
    const again = someone()
    await register(again, PASSWORD)
    await register(again, `${PASSWORD} twice`)
    await page.goto(await link(again, '/verify-email'))
    await submit()
    await page.getByLabel('Your password').fill(`${PASSWORD} twice`)
    await submit()
    await says('Your address is confirmed')
  })

  await t.test('joins by an invitation', async () => {
    const { token: admin } = await signUp(service)
    const invited = someone()
    await must(service, 'POST', '/api/v1/users/invitations', {
      as: admin,
      body: { email: invited, role: 'member' },
    })
    await page.goto(await link(invited, '/accept-invitation'))
    await page.getByLabel('Your name').fill('Somebody')
    await page.getByLabel('Email').fill(invited)
    await page.getByLabel('Password').fill(PASSWORD)
    await submit()
    await says('Welcome!')
    assert.equal((await logIn(invited, PASSWORD)).status, 200)
  })

  await t.test('says so where a link is not whole, or was used', async () => {
    await page.goto(`${service.url}/reset-password`)
    await says('This link is not whole')
    await page.goto(`${service.url}/reset-password?again#token=${'x'.repeat(43)}`)
    await page.getByLabel('New password').fill(PASSWORD)
    await submit()
    await says('The link is not valid (any more); ask for a new mail')
  })

  // A refusal is shown in the browser's own words too.
  assert.deepEqual(
    complaints.filter((line) => !/Failed to load resource: .* status of 4\d\d/.test(line)),
    [],
  )
})
