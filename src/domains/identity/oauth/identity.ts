import { Email } from '../users/schema'

/** Who a provider says has logged in. */
export type Identity = {
  /** Who vouches; part of the identity, since a subject means something to its issuer only. */
  issuer: string
  /** The provider's own id for the person, which is never given to another. */
  subject: string
  /** Lower case; null where the provider names none that is well-formed. */
  email: string | null
  /** Whether the provider has made sure that the address is the person's. */
  email_verified: boolean
  name: string | null
}

/**
 * An address as a provider wrote it. ASCII only, asked before the case is changed: there are letters (U+212A, U+FF20)
 * that become others by folding, and with them one person's address another's.
 */
export function addressOf(value: unknown): string | null {
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) return null
  const parsed = Email.safeParse(value)
  return parsed.success ? parsed.data : null
}

const MAX_NAME = 200

/** A person's name as a provider wrote it, without what is no text. */
export function nameOf(value: unknown): string | null {
  if (typeof value !== 'string') return null
  const name = value.replace(/\p{C}/gu, '').trim()
  return name === '' ? null : [...name].slice(0, MAX_NAME).join('')
}
