import * as z from 'zod'
import { ID, kind, OTHER_ID, Uuid } from './kind'

/** What is said of the catalogue of items. */
export const ABOUT_ITEMS = {
  'item.updated': kind(
    'Items of the catalogue were created, changed or deleted: those of one request, or of one step of an import.',
    z.object({
      items: z.array(
        z.object({
          id: Uuid,
          item_id: z.string().meta({ description: 'The item’s `external_id`.' }),
          change: z.enum(['created', 'updated', 'deleted']),
        }),
      ),
    }),
    {
      items: [
        { id: ID, item_id: 'sku-1042', change: 'created' },
        { id: OTHER_ID, item_id: 'sku-1043', change: 'updated' },
      ],
    },
  ),
} as const
