import * as z from 'zod'
import { Metadata, ordering, Uid } from '../wire'

const Name = z
  .string('must be a string')
  .min(1, 'must have at least one character')
  .max(256, 'must have at most 256 characters')
  .meta({ example: 'My first application' })

/** A rate over several endpoints is none that is kept: each endpoint has its own. */
const NoRate = z.null('must be left out: give each endpoint a throttleRate of its own').optional()

export const ApplicationIn = z.object({
  name: Name,
  uid: Uid('app').nullish(),
  metadata: Metadata.nullish(),
  throttleRate: NoRate,
  rateLimit: NoRate,
})

export const ApplicationPatch = z.object({
  name: Name.optional(),
  uid: Uid('app').nullish(),
  metadata: Metadata.nullish(),
  throttleRate: NoRate,
  rateLimit: NoRate,
})

/** A list that leaves none out would answer another question. */
const Only = z.enum(['false'], 'must be left out: applications are not listed by their endpoints').optional()

export const ListApplications = {
  ...ordering,
  exclude_apps_with_no_endpoints: Only,
  exclude_apps_with_disabled_endpoints: Only,
  exclude_apps_with_svix_play_endpoints: Only,
}

export const ApplicationOut = z
  .object({
    id: z.string().meta({ example: 'app_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' }),
    uid: z.string().nullable(),
    name: z.string(),
    throttleRate: z.null(),
    metadata: z.record(z.string(), z.string()),
    createdAt: z.string().meta({ format: 'date-time' }),
    updatedAt: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'SvixApplication' })

export type ApplicationIn = z.output<typeof ApplicationIn>
export type ApplicationPatch = z.output<typeof ApplicationPatch>
