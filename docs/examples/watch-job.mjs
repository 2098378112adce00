// How a job stands, live, until it has ended: `API=… KEY=… node docs/examples/watch-job.mjs <job id>` (Node 22 or newer)
const { API, KEY } = process.env
const socket = new WebSocket(`${API.replace(/^http/, 'ws')}/realtime/ws`)
const say = (frame) => socket.send(JSON.stringify(frame))

socket.onopen = () => say({ type: 'auth', token: `Bearer ${KEY}` })
socket.onmessage = ({ data }) => {
  const frame = JSON.parse(data)
  if (frame.type === 'ready') say({ type: 'subscribe', channel: `jobs:${process.argv[2]}` })
  if (frame.type === 'error') console.error(frame)
  if (frame.type !== 'job_status') return
  const { status, progress, result } = frame.data
  console.log(`${progress} %`, status, JSON.stringify(result.contacts))
  if (!['queued', 'running'].includes(status)) socket.close()
}
