/** What another service answered: its status, and its body as JSON. */
export type JsonAnswer = { status: number; body: unknown }

/** A key set of a large provider has some 10 kB, one with certificates 20 kB. */
const MOST_BYTES = 256 * 1024

/**
 * Asks another service for JSON. Redirects are not followed: what is asked, and with what, goes to the address that was
 * meant and nowhere else. Throws what the log may say: the answer's status where `isMeant` says so, and why it could not
 * be read.
 */
export async function askJson(
  url: string,
  init: RequestInit,
  isMeant: (status: number) => boolean,
  most = MOST_BYTES,
): Promise<JsonAnswer> {
  const response = await fetch(url, { ...init, redirect: 'manual' })
  const { status } = response
  if (!isMeant(status)) {
    await response.body?.cancel()
    throw new Error(`answered ${status}`)
  }
  return { status, body: JSON.parse(await readText(response, most)) }
}

async function readText(response: Response, most: number): Promise<string> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let size = 0; reader; ) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.byteLength
    if (size > most) {
      await reader.cancel()
      throw new Error(`answered more than ${most} bytes`)
    }
    text += decoder.decode(value, { stream: true })
  }
  return text + decoder.decode()
}
