import { afterEach, describe, expect, it, vi } from 'vitest'
import { log } from '../../src/lib/log'
import { makeWorld } from '../world'
import { serviceWith } from './service'

afterEach(() => {
  vi.restoreAllMocks()
  log.setLevel('silent')
})

describe('the line that a request leaves', () => {
  it('says who, what, when and how it ended, of a refusal as of anything else, in one JSON object', async () => {
    const lines: string[] = []
    vi.spyOn(console, 'log').mockImplementation((line) => void lines.push(String(line)))
    const { tenant, viewer } = await makeWorld()
    const service = serviceWith({ LOG_LEVEL: 'info' })
    const url = 'http://localhost:8787/api/v1/interactions'
    const body = JSON.stringify({ text: 'said in\nconfidence' })
    const headers = { 'Content-Type': 'application/json' }
    const inject = 'a"}\n{"level":"error"'
    await service('POST', url, { headers, body })
    await service('POST', url, { headers, body, token: 'made-up' })
    await service('POST', `${url}?${encodeURIComponent(inject)}`, { headers, body, token: viewer.token })
    const entries = lines.filter((line) => line.includes('request_processed')).map((line) => JSON.parse(line))
    const common = { level: 'info', endpoint: '/api/v1/interactions', method: 'POST' }
    expect(entries).toMatchObject([
      { ...common, status_code: 401, tenant_id: null },
      { ...common, status_code: 401, tenant_id: null },
      { ...common, status_code: 403, tenant_id: tenant.id },
    ])
    for (const { time, request_id } of entries) {
      expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
      expect(request_id).toMatch(/^req_/)
    }
    const all = lines.join('\n')
    for (const secret of [viewer.token, 'made-up', 'confidence', inject]) expect(all).not.toContain(secret)
    expect(lines.every((line) => !line.includes('\n'))).toBe(true)
  })
})
