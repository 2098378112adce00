/** What a spreadsheet would take for a formula (OWASP, CSV injection). */
const FORMULA = /^[=+\-@\t\r]/

/** A line of CSV (RFC 4180). A text that a spreadsheet would run gets an apostrophe before it. */
export function csvLine(values: readonly unknown[]): string {
  return `${values.map(field).join(',')}\r\n`
}

function field(value: unknown): string {
  const plain = value === null || value === undefined ? '' : String(value)
  const text = typeof value !== 'number' && FORMULA.test(plain) ? `'${plain}` : plain
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
