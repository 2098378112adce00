/** A name that no host has, in the place of the server's address while the document waits. */
export const SERVER = 'https://server.invalid'
