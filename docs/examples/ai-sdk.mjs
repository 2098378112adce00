// The AI SDK's own transport, as useChat drives it. To run: npm install ai, then API=… KEY=… CHAT=… node ai-sdk.mjs
import { DefaultChatTransport, readUIMessageStream } from 'ai'

const { API, KEY, CHAT } = process.env
const transport = new DefaultChatTransport({
  api: `${API}/api/v1/chats/${CHAT}/messages?format=ui`,
  prepareReconnectToStreamRequest: () => ({ api: `${API}/api/v1/chats/${CHAT}/stream?format=ui` }),
  headers: { Authorization: `Bearer ${KEY}` },
})

const question = {
  id: crypto.randomUUID(),
  role: 'user',
  parts: [{ type: 'text', text: 'Where is my parcel?' }],
}
const stream = await transport.sendMessages({ chatId: CHAT, trigger: 'submit-message', messages: [question] })
let answer
for await (const message of readUIMessageStream({ stream })) answer = message
for (const part of answer.parts) if (part.type === 'text') console.log(part.text)

// Nothing goes on any more that could be resumed.
console.log(await transport.reconnectToStream({ chatId: CHAT }))
