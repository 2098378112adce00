// A PDF of lines of text (ISO 32000-1): Helvetica, which every reader has, so only the letters of Windows-1252.

/** A text on a page: from the left, or up to `right`; in points from the page's lower left corner. */
export type Placed = { x: number; y: number; text: string; size?: number; bold?: boolean; right?: boolean }

export const PAGE = { width: 595, height: 842, margin: 56 } as const

/** Where Windows-1252 has what Unicode has elsewhere: 0x80 to 0x9f. */
const C1 = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ'

/** One character of Windows-1252, as the character of that number; its plain letter or `?` where it has none. */
function winAnsi(char: string): string {
  const at = C1.indexOf(char)
  if (at >= 0) return String.fromCharCode(0x80 + at)
  const code = char.codePointAt(0) ?? 0
  if ((code >= 0x20 && code < 0x7f) || (code >= 0xa0 && code <= 0xff)) return char
  const plain = char.normalize('NFKD')[0] ?? ''
  return plain >= ' ' && plain <= '~' ? plain : '?'
}

const encoded = (text: string): string => [...text].map(winAnsi).join('')
const literal = (text: string): string => `(${encoded(text).replace(/[\\()]/g, '\\$&')})`

/** Widths of what stands in columns of numbers, in thousandths (Adobe's metrics of Helvetica); others are letters. */
const WIDTHS: Record<string, number> = { ',': 278, '.': 278, ' ': 278, '-': 333 }
const DIGIT = 556

function widthOf(text: string, size: number): number {
  return ([...text].reduce((sum, char) => sum + (WIDTHS[char] ?? DIGIT), 0) * size) / 1000
}

function drawn({ x, y, text, size = 10, bold = false, right = false }: Placed): string {
  const left = right ? x - widthOf(text, size) : x
  return `BT /${bold ? 'B' : 'R'} ${size} Tf ${left.toFixed(2)} ${y.toFixed(2)} Td ${literal(text)} Tj ET`
}

const font = (name: string) =>
  `<< /Type /Font /Subtype /Type1 /BaseFont /${name} /Encoding /WinAnsiEncoding >>`

/** The bytes of a document of these pages. */
export function pdfOf(title: string, pages: readonly (readonly Placed[])[]): Uint8Array<ArrayBuffer> {
  const first = 6
  const kids = pages.map((_, i) => `${first + 2 * i} 0 R`).join(' ')
  const box = `[0 0 ${PAGE.width} ${PAGE.height}]`
  const objects = [
    '<< /Type /Catalog /Pages 2 0 R /Lang (en) >>',
    `<< /Type /Pages /Kids [${kids}] /Count ${pages.length} /MediaBox ${box} /Resources << /Font << /R 3 0 R /B 4 0 R >> >> >>`,
    font('Helvetica'),
    font('Helvetica-Bold'),
    `<< /Title ${literal(title)} /Producer (Causeway) >>`,
    ...pages.flatMap((placed, i) => {
      const content = placed.map(drawn).join('\n')
      return [
        `<< /Type /Page /Parent 2 0 R /Contents ${first + 2 * i + 1} 0 R >>`,
        `<< /Length ${content.length} >>\nstream\n${content}\nendstream`,
      ]
    }),
  ]
  // The second line has bytes beyond ASCII, by which programs that carry files know it for binary.
  let file = '%PDF-1.4\n%\u00e2\u00e3\u00cf\u00d3\n'
  const offsets = objects.map((object, i) => {
    const at = file.length
    file += `${i + 1} 0 obj\n${object}\nendobj\n`
    return `${String(at).padStart(10, '0')} 00000 n \n`
  })
  const size = objects.length + 1
  const xref = `xref\n0 ${size}\n0000000000 65535 f \n${offsets.join('')}`
  const trailer = `trailer\n<< /Size ${size} /Root 1 0 R /Info 5 0 R >>\nstartxref\n${file.length}\n%%EOF\n`
  return Uint8Array.from(`${file}${xref}${trailer}`, (char) => char.charCodeAt(0))
}
