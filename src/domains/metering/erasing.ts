import { erasedWithTenant, inKvOfTenant } from '../../data/erasure'
import { meterOf } from '../../data/objects'
import { copiesOf } from '../../data/tell'

erasedWithTenant({
  name: 'meter_objects',
  keys: async (ctx, after) => (after === '' ? [ctx.tenant.id] : []),
  erase: async (env, tenantId) => (await meterOf(env, tenantId)).erase(),
})

inKvOfTenant('kv_changes', copiesOf)
