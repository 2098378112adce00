// OpenAI's own client, with an agent as its model. To run: npm install openai, then API=… KEY=… AGENT=… node openai.mjs
import OpenAI from 'openai'

const { API, KEY, AGENT } = process.env
const openai = new OpenAI({ baseURL: `${API}/api/v1/openai`, apiKey: KEY })

for await (const model of openai.models.list()) if (model.id === AGENT) console.log(model.name)

const stream = await openai.chat.completions.create({
  model: AGENT,
  messages: [{ role: 'user', content: 'Where is my parcel?' }],
  stream: true,
})
for await (const { choices } of stream) process.stdout.write(choices[0]?.delta.content ?? '')
console.log()
