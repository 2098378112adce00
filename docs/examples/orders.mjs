// An API that a tool calls, and nobody without its key: `KEY=… node docs/examples/orders.mjs [port]`
import { createServer } from 'node:http'

const orders = { 'A-1001': { status: 'shipped', city: 'Köln' } }

createServer((request, response) => {
  const known = request.headers.authorization === `Bearer ${process.env.KEY}`
  const order = known && orders[decodeURIComponent(request.url.split('/').at(-1))]
  response.writeHead(known ? (order ? 200 : 404) : 401, { 'Content-Type': 'application/json' })
  response.end(JSON.stringify(order || { error: known ? 'no such order' : 'who are you?' }))
}).listen(Number(process.argv[2] ?? 9025))
