const HOUR_MS = 3600_000

type Text = {
  subject: string
  /** Paragraphs; one that is a URL becomes a link. */
  lines: string[]
  /** So long the mail is worth sending: its link works no longer. */
  usefulMs: number
}

// The texts of every mail, in one place; plain text is the master, HTML shows the same words.
const TEMPLATES = {
  verify_email: (link) => ({
    subject: 'Confirm your email address',
    lines: [
      'Welcome! Please confirm that this address is yours:',
      link,
      'The link works once, within 24 hours. If you did not register, do nothing.',
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  verify_email_again: (link) => ({
    subject: 'Confirm your email address',
    lines: [
      'This address was registered again, and the registration before it, which nobody had confirmed, is void.',
      'If it was you, please confirm that this address is yours; you are asked for the password that you chose:',
      link,
      'The link works once, within 24 hours. If it was somebody else, ask for a new password: the account is yours then, and theirs no more.',
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  reset_password: (link) => ({
    subject: 'Choose a new password',
    lines: [
      'Somebody, hopefully you, asked for a new password for your account. To choose one:',
      link,
      'The link works once, within an hour. It ends wherever the account is logged in. If you did not ask, do nothing.',
    ],
    usefulMs: HOUR_MS,
  }),
  password_changed: (link) => ({
    subject: 'Your password was changed',
    lines: [
      'The password of your account was changed just now, and everybody else who was logged in is logged out.',
      'If that was not you, choose a new one at once:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  already_registered: (link) => ({
    subject: 'You have an account already',
    lines: [
      'Somebody, perhaps you, tried to register with this address, which has an account already. Nothing was changed.',
      'If it was you, log in instead:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  oauth_linked: (link) => ({
    subject: 'A new way to log in to your account',
    lines: [
      'A login at another provider, which vouches for this address, can now be used for your account.',
      'If that was not you, remove it among your linked logins and choose a new password:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  passkey_added: (link) => ({
    subject: 'A passkey was added to your account',
    lines: [
      'A passkey was added to your account just now; it logs in without your password.',
      'If that was not you, remove it among your passkeys and choose a new password:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  passkey_removed: (link) => ({
    subject: 'A passkey was removed from your account',
    lines: [
      'A passkey was removed from your account just now and logs in no longer.',
      'If that was not you, choose a new password at once, which ends wherever the account is logged in:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  oauth_unlinked: (link) => ({
    subject: 'A linked login was removed from your account',
    lines: [
      'A login at another provider was removed from your account just now and can be used for it no longer.',
      'If that was not you, choose a new password at once, which ends wherever the account is logged in:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  two_step_added: (link) => ({
    subject: 'Two-step login is on',
    lines: [
      'An authenticator app was added to your account just now: a login needs its code or a recovery code.',
      'If that was not you, choose a new password at once, and ask your administrator for help:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  recovery_codes_renewed: (link) => ({
    subject: 'Your recovery codes were replaced',
    lines: [
      'Ten new recovery codes were made for your account just now; the old ones are void.',
      'If that was not you, choose a new password at once, which ends wherever the account is logged in:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  two_step_removed: (link) => ({
    subject: 'Two-step login is off',
    lines: [
      'The authenticator app of your account was removed just now: your password alone logs in.',
      'If that was not you, choose a new password at once, and switch it on again:',
      link,
    ],
    usefulMs: 24 * HOUR_MS,
  }),
  invitation: (link, tenant) => ({
    subject: 'You are invited',
    lines: [
      tenant === '' ? 'You are invited to join a team.' : `You are invited to join ${tenant}.`,
      'To accept, choose a password here:',
      link,
      'The link works once, within seven days. If you do not know who invites you, do nothing.',
    ],
    usefulMs: 7 * 24 * HOUR_MS,
  }),
  account_made: (link, tenant) => ({
    subject: 'An account was made for you',
    lines: [
      tenant === '' ? 'An account was made for you.' : `An account was made for you at ${tenant}.`,
      'To use it, choose a password here:',
      link,
      'The link works once, within seven days; after that, ask for a new password. If you expected no account, do nothing.',
    ],
    usefulMs: 7 * 24 * HOUR_MS,
  }),
  endpoint_failing: (link, endpoint) => ({
    subject: 'A webhook endpoint does not answer',
    lines: [
      `Nothing that was sent to your webhook endpoint at ${endpoint} has arrived for a day or more.`,
      'Its events are kept, and it is tried again every quarter of an hour. After five days without success it is disabled.',
      'What came of each attempt is in the list of its deliveries:',
      link,
    ],
    usefulMs: 2 * 24 * HOUR_MS,
  }),
  endpoint_given_up: (link, endpoint) => ({
    subject: 'A webhook endpoint was disabled',
    lines: [
      `Nothing that was sent to your webhook endpoint at ${endpoint} has arrived for five days, so it was disabled.`,
      'Its events are kept for as long as their payloads are. Enable it once it answers again, and they are sent:',
      link,
    ],
    usefulMs: 7 * 24 * HOUR_MS,
  }),
} as const satisfies Record<string, (link: string, tenant: string) => Text>

export type Template = keyof typeof TEMPLATES

/** The words of a mail around its link; `tenant` is the name of the tenant that it speaks of, if it says any. */
export function wordsOf(
  template: Template,
  link: string,
  tenant = '',
): Omit<Text, 'lines'> & { text: string; html: string } {
  const { lines, ...rest } = TEMPLATES[template](link, tenant.replace(/\s+/g, ' '))
  return { ...rest, text: lines.join('\n\n'), html: lines.map((line) => `<p>${linked(line)}</p>`).join('') }
}

function linked(line: string): string {
  const escaped = line.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
  return /^https?:/.test(line) ? `<a href="${escaped}">${escaped}</a>` : escaped
}
