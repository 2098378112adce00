/** Where a tenant's objects may live: Cloudflare's location hints, and the jurisdictions that hold them there. */
export const REGIONS = ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me', 'eu'] as const
export type Region = (typeof REGIONS)[number]

/** Regions that are a promise and not a hint: an object there is another than one of the same name elsewhere. */
export const JURISDICTIONS = ['eu'] as const
export type Jurisdiction = (typeof JURISDICTIONS)[number]

export const isJurisdiction = (region: string | null): region is Jurisdiction =>
  (JURISDICTIONS as readonly (string | null)[]).includes(region)
