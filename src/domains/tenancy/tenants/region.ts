import type { RequestContext } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { isJurisdiction, type Region } from '../../../lib/regions'

/** The region that a new tenant gets; 422 for a jurisdiction in which this service keeps no data. */
export function regionFor(
  { settings }: Pick<RequestContext, 'settings'>,
  region: Region | undefined,
): Region | null {
  if (region !== undefined && isJurisdiction(region) && settings.DATA_JURISDICTION !== region)
    throw problem.invalid({
      region: `must be another: this service has no database and bucket in the jurisdiction ${region}`,
    })
  return region ?? null
}
