import { PAGE, type Placed, pdfOf } from './pdf'
import type { InvoiceLine, InvoiceRow } from './table'

/** How the invoice names who it is from, and who it is for. */
export type Parties = { from: string; to: string }

const { width, height, margin } = PAGE
const RIGHT = width - margin
const COLUMNS = { description: margin, quantity: 370, unit: 460, amount: RIGHT }
const LINE = 16
/** Characters of a description that fit before the quantity. */
const WIDE = 48

/** Decimals of a currency: two for most, none for yen. */
function decimalsOf(currency: string): number {
  const options = { style: 'currency', currency } as const
  return new Intl.NumberFormat('en-US', options).resolvedOptions().maximumFractionDigits ?? 2
}

/** Money as people write it; what is less than the smallest coin with up to four decimals more. */
function money(amount: number, decimals: number): string {
  return (amount / 10 ** decimals).toLocaleString('en-US', {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals + (Number.isInteger(amount) ? 0 : 4),
  })
}

const day = (time: string | null): string => (time ?? '').slice(0, 10)

/** Words in lines of at most so many characters; what has no spaces is cut. */
function wrapped(text: string, most = WIDE): string[] {
  const lines = text.match(new RegExp(`\\S.{0,${most - 1}}(?=\\s|$)|\\S{1,${most}}`, 'gu'))
  return lines ?? ['']
}

function head(row: InvoiceRow, { from, to }: Parties): Placed[] {
  const facts = [
    `Number: ${row.number ?? ''}`,
    `Issued: ${day(row.issued_at)}`,
    `Period: ${day(row.period_start)} to ${day(row.period_end)}`,
    `Status: ${row.status}`,
    `From: ${from}`,
    `To: ${to}`,
  ]
  const lines = facts.flatMap((fact) => wrapped(fact, 80))
  return [
    { x: margin, y: height - margin - 20, text: 'Invoice', size: 24, bold: true },
    ...lines.map((text, i) => ({ x: margin, y: height - margin - 50 - i * LINE, text })),
  ]
}

function titles(y: number, currency: string): Placed[] {
  return [
    { x: COLUMNS.description, y, text: 'Description', bold: true },
    { x: COLUMNS.quantity, y, text: 'Quantity', bold: true, right: true },
    { x: COLUMNS.unit, y, text: 'Unit price', bold: true, right: true },
    { x: COLUMNS.amount, y, text: `Amount ${currency.toUpperCase()}`, bold: true, right: true },
  ]
}

function lineAt(y: number, line: InvoiceLine, decimals: number): Placed[] {
  return [
    ...wrapped(line.description).map((text, i) => ({ x: COLUMNS.description, y: y - i * LINE, text })),
    { x: COLUMNS.quantity, y, text: line.quantity.toLocaleString('en-US'), right: true },
    { x: COLUMNS.unit, y, text: money(line.unit_amount, decimals), right: true },
    { x: COLUMNS.amount, y, text: money(line.amount, decimals), right: true },
  ]
}

/** The invoice as a PDF, on as many pages as its lines need. */
export function printInvoice(row: InvoiceRow, parties: Parties): Uint8Array<ArrayBuffer> {
  const decimals = decimalsOf(row.currency)
  const first = head(row, parties)
  const pages: Placed[][] = [first]
  let y = Math.min(...first.map((placed) => placed.y)) - 2 * LINE
  const begin = () => {
    pages.at(-1)?.push(...titles(y, row.currency))
    y -= 1.5 * LINE
  }
  const room = (lines: number) => {
    if (y - (lines - 1) * LINE >= margin) return
    pages.push([])
    y = height - margin - LINE
    begin()
  }
  begin()
  for (const line of row.lines) {
    const lines = wrapped(line.description).length
    room(lines)
    pages.at(-1)?.push(...lineAt(y, line, decimals))
    y -= lines * LINE
  }
  room(4)
  for (const [text, amount] of [
    ['Total', row.amount_due],
    ['Paid', row.amount_paid],
  ] as const) {
    y -= LINE
    pages.at(-1)?.push({ x: COLUMNS.quantity, y, text, bold: true })
    pages.at(-1)?.push({ x: COLUMNS.amount, y, text: money(amount, decimals), bold: true, right: true })
  }
  return pdfOf(`Invoice ${row.number ?? ''}`, pages)
}
