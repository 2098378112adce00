/** Fifteen minutes (docs/security.md). */
export const ACCESS_TOKEN_SECONDS = 15 * 60
/** RFC 8725, section 3.8 leaves the skew open; 30 s covers clocks kept by NTP. */
export const LEEWAY_SECONDS = 30

/** How long caches may keep the JWKS. */
export const JWKS_MAX_AGE_SECONDS = 300
/** How long an isolate signs with, and publishes, the keys that it read. */
export const KEYS_FRESH_MS = 60_000

/**
 * A key is published so long before it signs: an isolate may answer with keys that it read a minute ago, and a cache may
 * keep that answer for its lifetime.
 */
export const PUBLISHED_AHEAD_MS = KEYS_FRESH_MS + JWKS_MAX_AGE_SECONDS * 1000

/** A key stays so long after the next one signs: an isolate may learn late of that, and its last token lives on. */
export const PUBLISHED_AFTER_MS = KEYS_FRESH_MS + (ACCESS_TOKEN_SECONDS + LEEWAY_SECONDS) * 1000
