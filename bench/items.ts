import type { Miniflare } from 'miniflare'
import { ORIGIN } from './runtime.ts'
import { ask, by, type Seeded } from './seed.ts'

/** Items a second: by an import, by requests of ten thousand, and of the bare statements that write the same rows. */
export type ItemsRun = { lines: number; imported: number; requested: number; bare: number }

type Row = { external_id: string; title: string; category: string; tags: string[]; color: string }

const COLORS = ['red', 'green', 'blue', 'black', 'white']
const OF_REQUEST = 10_000
const OF_BATCH = 500

const itemOf = (name: string, n: number): Row => ({
  external_id: `${name}-${n}`,
  title: `Trail running shoe number ${n}, "light"`,
  category: `category ${n % 40}`,
  tags: [`tag ${n % 9}`, COLORS[n % COLORS.length] ?? '', 'shoes'],
  color: COLORS[n % COLORS.length] ?? '',
})

const manyOf = (name: string, count: number): Row[] =>
  Array.from({ length: count }, (_, n) => itemOf(name, n))

/** Writes `lines` items in each of the three ways, one after the other, into one tenant. */
export async function measureItems(
  miniflare: Miniflare,
  { token }: Seeded,
  lines: number,
): Promise<ItemsRun> {
  const perSecond = async (count: number, work: () => Promise<unknown>) => {
    const began = performance.now()
    await work()
    return count / ((performance.now() - began) / 1_000)
  }
  const rate = { lines, imported: 0, requested: 0, bare: 0 }
  const file = await uploaded(miniflare, token, csvOf(manyOf('imported', lines)))
  rate.imported = await perSecond(lines, () => imported(miniflare, token, file, lines))
  const many = manyOf('requested', lines)
  rate.requested = await perSecond(lines, async () => {
    for (let at = 0; at < lines; at += OF_REQUEST) {
      const body = many
        .slice(at, at + OF_REQUEST)
        .map(({ color, ...item }) => ({ ...item, attributes: { color } }))
      await ask(miniflare, 'POST', '/api/v1/items', { headers: by(token), body })
    }
  })
  const tenant = await ask(miniflare, 'GET', '/api/v1/tenants/current', { headers: by(token) })
  rate.bare = await perSecond(lines, () => bare(miniflare, String(tenant.data.id), manyOf('bare', lines)))
  return rate
}

const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`

function csvOf(rows: readonly Row[]): string {
  const lines = rows.map(({ external_id, title, category, tags, color }) =>
    [external_id, quoted(title), category, quoted(tags.join('|')), color].join(','),
  )
  return `external_id,title,category,tags,attributes.color\n${lines.join('\n')}\n`
}

/** Puts a file where it can be imported or taken in from; its id. */
export async function uploaded(
  miniflare: Miniflare,
  token: string,
  text: string,
  named = { filename: 'items.csv', content_type: 'text/csv', purpose: 'import' },
): Promise<string> {
  const bytes = new TextEncoder().encode(text)
  const body = { ...named, size: bytes.byteLength }
  const { data } = await ask(miniflare, 'POST', '/api/v1/files/presign', { headers: by(token), body })
  const { file_id, url, headers } = data as { file_id: string; url: string; headers: Record<string, string> }
  const { pathname, search } = new URL(url)
  const sent = await miniflare.dispatchFetch(ORIGIN + pathname + search, {
    method: 'PUT',
    headers: { ...headers, 'Content-Length': String(bytes.byteLength) },
    body: bytes,
  })
  if (sent.status !== 200) throw new Error(`the upload answers ${sent.status}: ${await sent.text()}`)
  await ask(miniflare, 'POST', `/api/v1/files/${file_id}/complete`, { headers: by(token) })
  return file_id
}

async function imported(miniflare: Miniflare, token: string, file_id: string, lines: number): Promise<void> {
  const { data } = await ask(miniflare, 'POST', '/api/v1/items/import', {
    headers: by(token),
    body: { file_id },
  })
  for (;;) {
    const job = await ask(miniflare, 'GET', `/api/v1/jobs/${data.id}`, { headers: by(token) })
    const { status, result } = job.data as { status: string; result: { created: number } }
    if (status === 'completed' && result.created === lines) return
    if (status !== 'queued' && status !== 'running') throw new Error(`the import is ${status}: ${job.text}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** The same rows and words by the two statements that write them, as many in a batch, and nothing else. */
async function bare(miniflare: Miniflare, tenantId: string, rows: readonly Row[]): Promise<void> {
  const database = await miniflare.getD1Database('DB')
  const insert = database.prepare(
    `insert into items select null, ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, 1,
      value ->> 6, 1, ?, ? from json_each(?)`,
  )
  const words = database.prepare(
    'insert into item_texts (tenant_id, id, words) select ?, value ->> 0, value ->> 7 from json_each(?)',
  )
  const now = new Date().toISOString()
  for (let at = 0; at < rows.length; at += OF_BATCH) {
    const some = rows.slice(at, at + OF_BATCH).map(({ external_id, title, category, tags, color }) => {
      const text = `${title} ${category} ${tags.join(' ')} ${external_id} ${color}`.replace(
        /\w+/g,
        '\u200b$&',
      )
      const attributes = JSON.stringify({ color })
      return [
        crypto.randomUUID(),
        external_id,
        title,
        category,
        JSON.stringify(tags),
        attributes,
        'd'.repeat(32),
        text,
      ]
    })
    const json = JSON.stringify(some)
    await database.batch([insert.bind(tenantId, now, now, json), words.bind(tenantId, json)])
  }
}

/** What was measured, in a line. */
export function itemsLine({ lines, imported, requested, bare }: ItemsRun): string {
  const of = (rate: number) =>
    `${Math.round(rate).toLocaleString('en')} a second (${(rate / bare).toFixed(2)} of bare)`
  return `items, ${lines.toLocaleString('en')} in each way: imported from CSV ${of(imported)}; in requests of ten thousand ${of(requested)}; the bare statements ${Math.round(bare).toLocaleString('en')} a second`
}
