/**
 * Splits a text of JSON values (one document, lines, or one after the other) into the values' texts as each one closes,
 * however the text was cut. Only objects, arrays and strings are values here: numbers and words have no end of their own.
 */
export class JsonSplitter {
  /** True once something else stood where a value should begin; nothing after it is read. */
  foreign = false
  private parts: string[] = []
  private depth = 0
  private inString = false
  private escaped = false

  /** Whether a value has begun that has not ended. */
  get open(): boolean {
    return this.depth > 0 || this.inString
  }

  /** The texts of the values that `text` completes; their syntax is for JSON.parse to judge. */
  push(text: string): string[] {
    const values: string[] = []
    let start = 0
    for (let i = 0; i < text.length && !this.foreign; i++) {
      const char = text[i] as string
      if (!this.open) {
        // White space, and the record separator of RFC 7464.
        if (char <= ' ') continue
        start = i
        if (!this.begin(char)) this.foreign = true
      } else if (this.step(char)) {
        this.parts.push(text.slice(start, i + 1))
        values.push(this.parts.join(''))
        this.parts = []
      }
    }
    if (this.open) this.parts.push(text.slice(start))
    return values
  }

  private begin(char: string): boolean {
    this.inString = char === '"'
    this.depth = char === '{' || char === '[' ? 1 : 0
    return this.open
  }

  /** Takes one character of an open value; true when it closes the value. */
  private step(char: string): boolean {
    if (this.inString) {
      if (this.escaped) this.escaped = false
      else if (char === '\\') this.escaped = true
      else if (char === '"') this.inString = false
    } else if (char === '"') this.inString = true
    else if (char === '{' || char === '[') this.depth += 1
    else if (char === '}' || char === ']') this.depth -= 1
    return !this.open
  }
}
