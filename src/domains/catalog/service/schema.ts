import * as z from 'zod'
import { Id } from '../../../lib/wire'

/** Whether interactions are taken, and who is told of them. */
export const Service = z
  .object({
    tenant_id: Id,
    service_enabled: z.boolean(),
    endpoints: z.array(
      z.object({
        id: Id,
        uid: z.string().nullable(),
        url: z.string(),
        status: z.string().meta({ example: 'active' }),
      }),
    ),
  })
  .meta({ id: 'Service' })

export const UpdateService = z.strictObject({
  service_enabled: z
    .boolean()
    .meta({ description: 'While false, registering an interaction is 409.', example: true }),
})
export type UpdateService = z.output<typeof UpdateService>
