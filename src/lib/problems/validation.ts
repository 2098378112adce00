import { ofCategory } from './kind'

/** What is wrong with the request itself. */
export const VALIDATION = ofCategory('validation', {
  malformed_json: { status: 400, hint: 'Send a body that is valid JSON.' },
  malformed_body: { status: 400, hint: 'Send a body of the announced content type.' },
  malformed_header: { status: 400, hint: 'Correct the header named in details.' },
  host_refused: { status: 400, hint: 'Call the service by a host name it is configured for.' },
  oauth_state_invalid: {
    status: 400,
    hint: 'Start the login again, in the same browser; one start leads to one login, within ten minutes.',
  },
  method_not_allowed: { status: 405, hint: 'Use one of the methods in the Allow header.' },
  length_required: { status: 411, hint: 'Send a Content-Length.' },
  precondition_failed: { status: 412, hint: 'Read the resource again and repeat with its ETag in If-Match.' },
  body_too_large: { status: 413, hint: 'Send a smaller body; the limit is in details.' },
  payload_too_large: { status: 413, hint: 'Send a smaller payload; the limit is in details.' },
  unsupported_media_type: { status: 415, hint: 'Send the content type named in details.' },
  range_not_satisfiable: { status: 416, hint: 'Ask for bytes that the file has; its size is in details.' },
  validation_failed: {
    status: 422,
    hint: 'Correct the fields listed in details and send the request again.',
  },
  idempotency_key_reused: { status: 422, hint: 'This key stands for another request; use a new one.' },
})
