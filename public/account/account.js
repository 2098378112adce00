// Where the links of the mails lead. The token stands behind the #, which no server or proxy is sent.

const password = (label = 'Password', autocomplete = 'new-password') => ({
  name: 'password',
  label,
  type: 'password',
  autocomplete,
})
const email = { name: 'email', label: 'Email', type: 'email', autocomplete: 'username' }

const PAGES = {
  '/verify-email': {
    title: 'Confirm your email address',
    lead: 'Press the button to confirm that this address is yours.',
    fields: [],
    button: 'Confirm',
    ask: 'verify-email/confirm',
    done: 'Your address is confirmed. You can close this page and log in.',
    needsToken: true,
  },
  '/reset-password': {
    title: 'Choose a new password',
    lead: 'Wherever the account is logged in, it is logged out.',
    fields: [password('New password')],
    button: 'Change the password',
    ask: 'password/reset',
    done: 'Your password is changed. You can close this page and log in.',
    needsToken: true,
  },
  '/forgot-password': {
    title: 'Forgot your password?',
    lead: 'We send you a link with which to choose a new one.',
    fields: [email],
    button: 'Send the link',
    ask: 'password/forgot',
  },
  '/accept-invitation': {
    title: 'Accept your invitation',
    lead: 'Use the address that the invitation was sent to.',
    fields: [
      { name: 'full_name', label: 'Your name', type: 'text', autocomplete: 'name', optional: true },
      email,
      password(),
    ],
    button: 'Join',
    ask: 'register',
    tokenAs: 'invitation',
    done: 'Welcome! You can close this page and log in.',
    needsToken: true,
  },
}

const page = PAGES[location.pathname.replace(/\/$/, '')]
const token = new URLSearchParams(location.hash.slice(1)).get('token')
// Out of the address bar, and of what the history keeps.
history.replaceState(null, '', location.pathname)

const form = document.getElementById('form')
const message = document.getElementById('message')

function add(tag, attributes, parent = form) {
  const element = Object.assign(document.createElement(tag), attributes)
  parent.append(element)
  return element
}

function addField({ label, optional, ...field }) {
  add('label', { htmlFor: field.name, textContent: optional ? `${label} (optional)` : label })
  const input = add('input', { id: field.name, required: !optional, ...field })
  const why = add('p', { id: `${field.name}-why`, className: 'why', hidden: true })
  input.setAttribute('aria-describedby', why.id)
}

/** Says at its field what is wrong; what has no field here is said below. */
function explain(fields) {
  const others = []
  for (const [name, words] of Object.entries(fields)) {
    if (name === 'password' && !form.elements.password) {
      // Of an account that took the place of an earlier registration: asked for only where it is needed.
      const button = form.querySelector('button')
      addField(password('Your password', 'current-password'))
      form.append(button)
    }
    const input = form.elements.namedItem(name)
    if (!input) {
      others.push(name === 'token' || name === 'invitation' ? `The link ${words}.` : `${name} ${words}`)
      continue
    }
    input.setAttribute('aria-invalid', 'true')
    const why = document.getElementById(`${name}-why`)
    Object.assign(why, { textContent: `${input.labels[0].textContent} ${words}`, hidden: false })
    input.focus()
  }
  return others.join(' ')
}

function clear() {
  message.textContent = ''
  for (const input of form.querySelectorAll('input')) input.removeAttribute('aria-invalid')
  for (const why of form.querySelectorAll('.why')) why.hidden = true
}

async function send(event) {
  event.preventDefault()
  clear()
  const button = form.querySelector('button')
  button.disabled = true
  try {
    const values = [...new FormData(form)].filter(([, value]) => value !== '')
    const body = { ...Object.fromEntries(values), ...(token ? { [page.tokenAs ?? 'token']: token } : {}) }
    const answer = await fetch(`/api/v1/auth/${page.ask}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
      credentials: 'omit',
    })
    const { data, error } = await answer.json()
    if (answer.ok) {
      form.hidden = true
      message.textContent = page.done ?? data.message
    } else message.textContent = error.details?.fields ? explain(error.details.fields) : error.message
  } catch {
    message.textContent = 'The service could not be reached. Please try again.'
  } finally {
    button.disabled = false
  }
}

document.title = page.title
document.getElementById('title').textContent = page.title
if (page.needsToken && !token)
  message.textContent = 'This link is not whole. Please open it from the mail once more.'
else {
  document.getElementById('lead').textContent = page.lead
  for (const field of page.fields) addField(field)
  add('button', { textContent: page.button })
  form.addEventListener('submit', send)
  form.hidden = false
}
