import type { RequestContext } from '../../../data/context'
import { hasJurisdiction } from '../../../data/objects'
import { problem } from '../../../lib/problem'
import { isJurisdiction, type Region } from '../../../lib/regions'

/** The region that a new tenant gets; 422 for a jurisdiction in which this service keeps no data, or can make no objects. */
export function regionFor(
  { env, settings }: Pick<RequestContext, 'env' | 'settings'>,
  region: Region | undefined,
): Region | null {
  if (region === undefined || !isJurisdiction(region)) return region ?? null
  if (settings.DATA_JURISDICTION !== region)
    throw refused(`this service has no database and bucket in the jurisdiction ${region}`)
  if (!hasJurisdiction(env, region))
    throw refused(`nothing here can make objects in the jurisdiction ${region}`)
  return region
}

const refused = (why: string) => problem.invalid({ region: `must be another: ${why}` })
