// `{{secrets.name}}` within a text that a tenant gives, such as a header's value.

const USE = /\{\{\s*secrets\.([A-Za-z0-9_-]{1,64})\s*\}\}/g
/** What is meant as one, well formed or not. */
const MEANT = /\{\{\s*secrets\b/g

/** The names of the secrets that a text uses. */
export function namesIn(text: string): string[] {
  return [...new Set([...text.matchAll(USE)].map(([, name = '']) => name))]
}

/** Why a text can't be filled; null where it can, or where it uses no secret. */
export function refusalOfTemplate(text: string): string | null {
  const meant = [...text.matchAll(MEANT)].length
  return meant === [...text.matchAll(USE)].length
    ? null
    : 'must use a secret as {{secrets.name}}, a name of letters, digits, _ and -'
}

/** The text with its secrets in place of their names. */
export function fill(text: string, secretOf: (name: string) => string): string {
  return text.replace(USE, (_, name: string) => secretOf(name))
}

/** Whether a secret may be sent to a host: one of its own, or below one that begins with `*.`. */
export function mayGoTo(hosts: readonly string[], host: string): boolean {
  const plain = host.toLowerCase().replace(/\.+$/, '')
  return hosts.some((one) => (one.startsWith('*.') ? plain.endsWith(one.slice(1)) : plain === one))
}

/** A host's name as it is compared (`*.example.com` for all below one); null where it is none. */
export function hostNamed(text: string): string | null {
  const below = text.startsWith('*.') ? '*.' : ''
  const name = text.slice(below.length)
  if (/[\s/\\?#@:%]/.test(name.replace(/^\[[\da-fA-F:.]+\]$/, ''))) return null
  if (!URL.canParse(`https://${name}`)) return null
  const host = new URL(`https://${name}`).hostname.replace(/\.+$/, '')
  const labels = host.split('.')
  // All below `com` is nobody's own.
  return host === '' || host.includes('*') || labels.includes('') || (below && labels.length < 2)
    ? null
    : `${below}${host}`
}
