// Svix's own client with Causeway behind it: KEY=sk_… API=http://localhost:8787 HOOK=https://… node docs/examples/svix.mjs
import { Svix } from 'svix'

const svix = new Svix(process.env.KEY, { serverUrl: process.env.API })

const app = await svix.application.getOrCreate({ name: 'Acme', uid: 'acme' })
const endpoint = await svix.endpoint.upsert(app.id, 'billing', { url: process.env.HOOK })
const message = await svix.message.create('acme', {
  eventType: 'invoice.paid',
  eventId: 'invoice-42',
  payload: { invoice: 42 },
})
console.log(`${message.id} goes to ${endpoint.url}`)
