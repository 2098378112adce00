import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { readText } from '../../../http/body'
import { doc, open } from '../../../http/route'
import { paySimulated, returnOf, simulatedCheckout } from './simulated'
import type { CheckoutRow } from './table'

const HEADERS = {
  'Content-Type': 'text/html; charset=UTF-8',
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  'Cache-Control': 'no-store',
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (one) => `&#${one.charCodeAt(0)};`)

function page({ credits, plan, amount, currency, status }: CheckoutRow): string {
  const what = plan === null ? `${credits} credits` : `plan ${plan}, a month`
  const price = `${(amount / 100).toFixed(2)} ${currency.toUpperCase()}`
  const form = `<form method="post"><button name="do" value="pay">Pay ${escaped(price)}</button>
<button name="do" value="cancel">Go back</button></form>`
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Simulated checkout</title><style>body{font:16px/1.5 system-ui;max-width:30em;margin:4em auto;padding:0 1em}
button{font:inherit;padding:.5em 1em;margin-right:.5em}</style>
<h1>Simulated checkout</h1><p>${escaped(what)}: ${escaped(price)}. Nobody pays here.</p>
${status === 'open' ? form : `<p>This checkout is ${escaped(status)}.</p>`}</html>`
}

/** The page of a checkout where nobody pays, and its two buttons; 404 but where payments are simulated. */
export const simulatedCheckoutRoutes = new Hono<AppEnv>()
  .get('/:at', doc('Page of a simulated checkout', { hidden: true }), open(), async (c) => {
    const { row } = await simulatedCheckout(c.var.request, c.req.param('at'))
    return c.body(page(row), 200, HEADERS)
  })
  .post(
    '/:at',
    doc('Pay a simulated checkout', { hidden: true, idempotency: 'ignored' }),
    open(),
    async (c) => {
      const at = c.req.param('at')
      if (new URLSearchParams(await readText(c, 1_000)).get('do') === 'cancel') {
        const { row } = await simulatedCheckout(c.var.request, at)
        return c.redirect(returnOf(row, row.cancel_url ?? row.success_url), 303)
      }
      const row = await paySimulated(c.var.request, at)
      return c.redirect(returnOf(row, row.success_url), 303)
    },
  )
