import { env } from 'cloudflare:workers'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { call, type World } from '../world'

/** One of everything that Svix's clients know, by the path that ends with it. */
export async function seedSvix({ tenant, admin }: World): Promise<Record<string, string>> {
  const ask = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const answer = await call(method, path, { token: admin.token, body })
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
    return answer.json<T>()
  }
  type Made = { id: string }
  const base = '/api/v1/app'
  const receiver = await makeReceiver({ status: 200 })
  const { id: app } = await ask<Made>('POST', base, { name: 'Seed' })
  const { name } = await ask<{ name: string }>('POST', '/api/v1/event-type', {
    ...{ name: 'seed.signup', description: 'Seed' },
  })
  const { id: endpoint } = await ask<Made>('POST', `${base}/${app}/endpoint`, { url: receiver.url })
  const { id: message } = await ask<Made>('POST', `${base}/${app}/msg`, { eventType: name, payload: {} })
  await eventually(async () =>
    env.DB.prepare("select id from deliveries where tenant_id = ? and event_id = ? and status = 'delivered'")
      .bind(tenant.id, message)
      .first(),
  )
  const path = `${base}/${app}/attempt/msg/${message}`
  const { data } = await ask<{ data: Made[] }>('GET', path)
  const since = new Date().toISOString()
  const { id: task } = await ask<Made>('POST', `${base}/${app}/endpoint/${endpoint}/recover`, {
    ...{ since, until: new Date(Date.now() + 1000).toISOString() },
  })
  const of = `${base}/{app_id}`
  return {
    [of]: app,
    [`${of}/endpoint/{endpoint_id}`]: endpoint,
    [`${of}/msg/{msg_id}`]: message,
    [`${of}/msg/{msg_id}/endpoint/{endpoint_id}`]: endpoint,
    [`${of}/msg/{msg_id}/attempt/{attempt_id}`]: data[0]?.id ?? '',
    [`${of}/attempt/endpoint/{endpoint_id}`]: endpoint,
    [`${of}/attempt/msg/{msg_id}`]: message,
    '/api/v1/event-type/{event_type_name}': name,
    '/api/v1/background-task/{task_id}': task,
  }
}
