import { describe, expect, it } from 'vitest'
import { ReplyReader } from '../../src/domains/chat/agents/upstreams/reply'
import { type UpstreamEvent, UpstreamFailure } from '../../src/domains/chat/agents/upstreams/upstream'
import { utf8 } from '../../src/lib/encoding'

type Outcome = { events: UpstreamEvent[]; failure: string | null; text: string }

/** Feeds the pieces, then ends the body. */
function read(pieces: Uint8Array[], type = ''): Outcome {
  const events: UpstreamEvent[] = []
  let failure: string | null = null
  try {
    const reader = new ReplyReader(type)
    for (const piece of pieces) {
      for (const event of reader.push(piece)) events.push(event)
      if (reader.done) break
    }
    if (!reader.done) for (const event of reader.end()) events.push(event)
  } catch (error) {
    if (!(error instanceof UpstreamFailure)) throw error
    failure = `${error.code}: ${error.message}`
  }
  return {
    events: joined(events),
    failure,
    text: events.map((e) => (e.kind === 'delta' ? e.text : '')).join(''),
  }
}

/** Deltas in a row are one: where they are cut is the network's business. */
function joined(events: UpstreamEvent[]): UpstreamEvent[] {
  const out: UpstreamEvent[] = []
  for (const event of events) {
    const last = out.at(-1)
    if (event.kind === 'delta' && last?.kind === 'delta')
      out[out.length - 1] = { ...last, text: last.text + event.text }
    else out.push(event)
  }
  return out
}

/** The outcome of the whole body at once, having checked that every way to cut it in two, and single bytes, read the same. */
function outcome(body: string, type = ''): Outcome {
  const bytes = utf8(body)
  const whole = read([bytes], type)
  for (let i = 1; i < bytes.length; i++)
    expect(read([bytes.subarray(0, i), bytes.subarray(i)], type), `cut at ${i}`).toEqual(whole)
  expect(
    read(
      Array.from(bytes, (byte) => new Uint8Array([byte])),
      type,
    ),
    'byte by byte',
  ).toEqual(whole)
  return whole
}

const answers = (body: string, text: string, type = '') =>
  expect(outcome(body, type), body).toMatchObject({ text, failure: null })

const lines = (...values: unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('')
const data = (...values: unknown[]) =>
  values.map((value) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`).join('')

// An astral character, a flag of two, and one of three bytes: each is cut in every place.
const WORDS = 'Héllo 👋 🇫🇷 wörld €'

describe('server-sent events', () => {
  it('of the chat guide', () => {
    const body = 'data: {"content": "Hi"}\n\ndata: {"content": " there! 👋"}\n\ndata: [DONE]\n\n'
    answers(body, 'Hi there! 👋')
    answers(body, 'Hi there! 👋', 'text/event-stream; charset=utf-8')
    answers(body, 'Hi there! 👋', 'application/json')
    answers(body.replaceAll('\n', '\r\n'), 'Hi there! 👋')
    answers(`\ufeff${body}`, 'Hi there! 👋')
    answers(body.replace('data: [DONE]\n\n', ''), 'Hi there! 👋')
    answers(body.trimEnd(), 'Hi there! 👋')
  })

  it('with comments, ids, names and signs of life around them', () => {
    answers(
      ': keep-alive\n\nretry: 10\nid: 1\nevent: message\ndata: {"content":"a"}\n\nevent: ping\ndata: {"content":"no"}\n\n: x\n\ndata: {"content":"b"}\n\n',
      'ab',
    )
    answers(
      ': OPENROUTER PROCESSING\n\ndata: {"choices":[{"delta":{"content":"x"}}]}\n\n',
      'x',
      'text/event-stream',
    )
    answers(`id: 7\n${data({ content: 'x' })}`, 'x', 'text/plain')
  })

  it('that forget the blank line', () => {
    answers('data: {"content":"a"}\ndata: {"content":"b"}\ndata: [DONE]\n', 'ab')
  })

  it('of OpenAI', () => {
    const chunk = (delta: object, finish_reason: string | null = null) => ({
      choices: [{ index: 0, delta, finish_reason }],
    })
    const usage = { prompt_tokens: 3, completion_tokens: 2 }
    expect(
      outcome(
        data(
          chunk({ role: 'assistant', content: '' }),
          chunk({ reasoning_content: 'hm' }),
          chunk({ content: 'Hé' }),
          { choices: [{ index: 1, delta: { content: 'no' } }] },
          chunk({ content: 'llo' }),
          chunk({ tool_calls: [] }, 'length'),
          { choices: [], usage },
          '[DONE]',
          chunk({ content: 'no' }),
        ),
      ),
    ).toEqual({
      text: 'Héllo',
      failure: null,
      events: [
        { kind: 'status', description: 'Thinking…', level: 'info' },
        { kind: 'delta', text: 'Héllo' },
        { kind: 'finish', reason: 'length' },
        { kind: 'usage', ...usage },
      ],
    })
    answers(data({ choices: [{ text: 'old' }] }), 'old')
    answers(data({ type: 'response.output_text.delta', delta: 'new' }), 'new')
  })

  it('of the AI SDK', () => {
    expect(
      outcome(
        data(
          { type: 'start', messageId: 'm' },
          { type: 'start-step' },
          { type: 'reasoning-delta', id: 'r', delta: 'no' },
          { type: 'tool-output-available', output: { text: 'no call is named' } },
          { type: 'text-start', id: 't' },
          { type: 'text-delta', id: 't', delta: 'Hi ' },
          { type: 'text-delta', id: 't', delta: 'there' },
          { type: 'text-end', id: 't' },
          { type: 'data-weather', data: { text: 'no' } },
          { type: 'source-url', text: 'no' },
          { type: 'finish', finishReason: 'stop', totalUsage: { inputTokens: 1, outputTokens: 2 } },
          '[DONE]',
        ),
      ),
    ).toEqual({
      text: 'Hi there',
      failure: null,
      events: [
        { kind: 'status', description: 'Thinking…', level: 'info' },
        { kind: 'delta', text: 'Hi there' },
        { kind: 'usage', prompt_tokens: 1, completion_tokens: 2 },
        { kind: 'finish', reason: 'stop' },
      ],
    })
    expect(
      outcome(data({ type: 'text-delta', delta: 'a' }, { type: 'error', errorText: 'no luck' })),
    ).toMatchObject({
      text: 'a',
      failure: 'upstream_error: The agent reported an error: no luck',
    })
    expect(outcome(data({ type: 'text-delta', delta: 'a' }, { type: 'abort' })).failure).toMatch(
      /stopped its answer/,
    )
  })

  it('of Causeway itself', () => {
    expect(
      outcome(
        data(
          { type: 'status', data: { description: 'Thinking', level: 'warning', done: false } },
          { type: 'message', data: { content: 'Hi' } },
          {
            type: 'done',
            data: { message: 'Stream completed', finish: 'stop', usage: { completion_tokens: 4 } },
          },
          { type: 'message', data: { content: 'no' } },
        ),
      ).events,
    ).toEqual([
      { kind: 'status', description: 'Thinking', level: 'warning' },
      { kind: 'delta', text: 'Hi' },
      { kind: 'usage', prompt_tokens: null, completion_tokens: 4 },
      { kind: 'finish', reason: 'stop' },
    ])
    expect(outcome(data({ type: 'error', data: { message: 'no', code: 'x' } })).failure).toMatch(/error: no$/)
  })

  it('of plain text, tokens that look like JSON among it', () => {
    answers('data: Hello\n\ndata:  wörld\n\ndata: [DONE]\n\n', 'Hello wörld')
    answers('data: one\ndata: two\n\ndata: three\n\n', 'one\ntwothree')
    answers('data: {\n\ndata: "a"\n\ndata: : 1}\n\n', '{"a": 1}')
    answers('data: 42\n\ndata:  true\n\ndata: [1]\n\n', '42 true[1]')
    answers('data: Hello\n\nevent: done\ndata: {}\n\n', 'Hello')
    answers('event: message\ndata: hey\n\n', 'hey')
  })

  it('of JSON strings', () => {
    answers('data: "Hi\\n"\n\ndata: "there"\n\n', 'Hi\nthere')
  })

  it('whose last event repeats the text', () => {
    answers('event: token\ndata: {"content":"Hi"}\n\nevent: done\ndata: {"content":"Hi"}\n\n', 'Hi')
    answers('event: done\ndata: {"content":"Hi"}\n\n', 'Hi')
  })

  it('that fail', () => {
    expect(outcome('data: {"content":"Hi"}\n\nevent: error\ndata: out of memory\n\n')).toMatchObject({
      text: 'Hi',
      failure: 'upstream_error: The agent reported an error: out of memory',
    })
    expect(outcome(data({ content: 'Hi' }, { error: { message: 'quota' } }))).toMatchObject({
      text: 'Hi',
      failure: 'upstream_error: The agent reported an error: quota',
    })
    expect(outcome('data: {"content":"Hi"}\n\ndata: {"content":" th')).toMatchObject({
      text: 'Hi',
      failure: expect.stringMatching(/^upstream_reset: .*middle of an event/),
    })
    expect(outcome('data: [DONE]\n\n')).toMatchObject({ text: '', failure: null })
    expect(outcome(': nothing\n\n', 'text/event-stream').failure).toMatch(/^upstream_empty/)
    expect(outcome(data({ foo: 1 })).failure).toMatch(/^upstream_error: .*without content, output/)
  })
})

describe('JSON lines', () => {
  it('of n8n, heartbeats and several nodes in one run', () => {
    const body = `\n\n${lines(
      { type: 'begin', metadata: { nodeName: 'AI Agent' } },
      { type: 'item', content: 'Hé', metadata: {} },
      { type: 'item', content: 'llo ' },
    )}\n\n${lines({ type: 'end' }, { type: 'begin' }, { type: 'item', content: '👋' }, { type: 'end' })}\n`
    answers(body, 'Héllo 👋', 'application/json; charset=utf-8')
    answers(body, 'Héllo 👋')
    answers(body.replaceAll('\n', ''), 'Héllo 👋')
    answers(body.replaceAll('\n', '\r\n'), 'Héllo 👋')
  })

  it('of n8n, whose item is a JSON object', () => {
    for (const content of [{ output: 'Hi' }, '{"output":"Hi"}', '{"message":{"content":"Hi"}}'])
      answers(lines({ type: 'begin' }, { type: 'item', content }, { type: 'end' }), 'Hi')
    answers(lines({ type: 'begin' }, { type: 'item', content: { foo: 1 } }, { type: 'end' }), '{"foo":1}')
    answers(lines({ type: 'begin' }, { type: 'item', content: '{"foo":1}' }, { type: 'end' }), '{"foo":1}')
    answers(lines({ type: 'begin' }, { type: 'item', content: '{not json}' }, { type: 'end' }), '{not json}')
    // In the middle of an answer an object is part of the text.
    const item = (content: string) => ({ type: 'item', content })
    answers(
      lines({ type: 'begin' }, item('Send '), item('{"text":"x"}'), { type: 'end' }),
      'Send {"text":"x"}',
    )
  })

  it('of n8n, that ends in an error', () => {
    expect(
      outcome(lines({ type: 'begin' }, { type: 'item', content: 'Hi' }, { type: 'error', content: 'broke' })),
    ).toMatchObject({ text: 'Hi', failure: 'upstream_error: The agent reported an error: broke' })
  })

  it('of Ollama', () => {
    const line = (content: string, done = false, more = {}) => ({
      model: 'm',
      message: { content },
      done,
      ...more,
    })
    expect(
      outcome(
        lines(
          line('Hi'),
          line(' you'),
          line('', true, { done_reason: 'length', prompt_eval_count: 5, eval_count: 2 }),
        ),
        'application/x-ndjson',
      ),
    ).toEqual({
      text: 'Hi you',
      failure: null,
      events: [
        { kind: 'delta', text: 'Hi you' },
        { kind: 'usage', prompt_tokens: 5, completion_tokens: 2 },
        { kind: 'finish', reason: 'length' },
      ],
    })
    answers(lines({ response: 'Hi', done: false }, { response: '!', done: true }), 'Hi!')
    expect(outcome(lines({ error: 'model not found' })).failure).toMatch(/model not found/)
  })

  it('cut off in mid-line, or going on with something else', () => {
    expect(outcome('{"type":"item","content":"Hi"}\n{"type":"it')).toMatchObject({
      text: 'Hi',
      failure: expect.stringMatching(/^upstream_reset: .*middle of its JSON/),
    })
    expect(outcome('{"type":"item","content":"Hi"}\nFatal error')).toMatchObject({
      text: 'Hi',
      failure: expect.stringMatching(/^upstream_error: .*not JSON/),
    })
    expect(outcome('{"type":"item","content":"Hi"}\n{"type" "item"}')).toMatchObject({
      text: 'Hi',
      failure: expect.stringMatching(/^upstream_error: .*not valid JSON/),
    })
  })
})

describe('tools', () => {
  const tool = (id: string, name: string, status: string, more: object) => ({
    ...{ kind: 'tool', id, name, status },
    ...more,
  })
  const chunk = (delta: object, finish_reason: string | null = null) => ({
    choices: [{ index: 0, delta, finish_reason }],
  })
  const piece = (index: number | undefined, fields: object, args: string) => ({
    ...(index === undefined ? {} : { index }),
    ...fields,
    function: { ...('name' in fields ? { name: fields.name } : {}), arguments: args },
  })

  it('of OpenAI, put together from their pieces, two at a time', () => {
    const body = data(
      chunk({ content: 'Let me see. ' }),
      chunk({ tool_calls: [piece(0, { id: 'a', name: 'weather' }, '')] }),
      chunk({ tool_calls: [piece(0, {}, '{"city":"Pa')] }),
      chunk({ tool_calls: [piece(1, { id: 'b', name: 'time' }, '{}'), piece(0, {}, 'ris"}')] }),
      chunk({}, 'tool_calls'),
      '[DONE]',
    )
    expect(outcome(body).events).toEqual([
      { kind: 'delta', text: 'Let me see. ' },
      tool('a', 'weather', 'call', { arguments: { city: 'Paris' } }),
      tool('b', 'time', 'call', { arguments: {} }),
      { kind: 'finish', reason: 'stop' },
    ])
  })

  it('of servers that number, name or end them carelessly', () => {
    const calls = (body: string) => outcome(body).events.filter(({ kind }) => kind === 'tool')
    // Two calls in one place, without an end.
    expect(
      calls(
        data(
          chunk({ tool_calls: [piece(0, { id: 'a', name: 'one' }, '{"x":1}')] }),
          chunk({ tool_calls: [piece(0, { id: 'b', name: 'two' }, 'not json')] }),
        ),
      ),
    ).toEqual([
      tool('a', 'one', 'call', { arguments: { x: 1 } }),
      tool('b', 'two', 'call', { arguments: 'not json' }),
    ])
    // No place and no id.
    expect(
      calls(
        data(
          chunk({ tool_calls: [piece(undefined, { name: 'one' }, '{"x"')] }),
          chunk({ tool_calls: [piece(undefined, {}, ':2}')] }),
          '[DONE]',
        ),
      ),
    ).toEqual([tool('call_1', 'one', 'call', { arguments: { x: 2 } })])
    expect(calls(data(chunk({ function_call: { name: 'old', arguments: '{}' } }, 'function_call')))).toEqual([
      tool('call_1', 'old', 'call', { arguments: {} }),
    ])
  })

  it('of documents: OpenAI’s, a custom one’s, Ollama’s, Workers AI’s', () => {
    const call = (calls: object[]) => ({ choices: [{ message: { content: null, tool_calls: calls } }] })
    const one = (body: unknown) => {
      const { events, failure } = outcome(JSON.stringify(body), 'application/json')
      expect(failure).toBeNull()
      return events[0]
    }
    expect(one(call([{ id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }]))).toEqual(
      tool('a', 'f', 'call', { arguments: { x: 1 } }),
    )
    expect(one(call([{ id: 'a', type: 'custom', custom: { name: 'sql', input: 'select 1' } }]))).toEqual(
      tool('a', 'sql', 'call', { arguments: 'select 1' }),
    )
    expect(
      one({
        message: { content: '', tool_calls: [{ function: { name: 'f', arguments: { x: 1 } } }] },
        done: true,
      }),
    ).toEqual(tool('call_1', 'f', 'call', { arguments: { x: 1 } }))
    expect(one({ response: null, tool_calls: [{ name: 'f', arguments: { x: 1 } }] })).toEqual(
      tool('call_1', 'f', 'call', { arguments: { x: 1 } }),
    )
  })

  it('of the AI SDK, their results and failures with them', () => {
    expect(
      outcome(
        data(
          { type: 'tool-input-start', toolCallId: 'a', toolName: 'weather' },
          { type: 'tool-input-delta', toolCallId: 'a', inputTextDelta: '{"ci' },
          { type: 'tool-input-available', toolCallId: 'a', toolName: 'weather', input: { city: 'Paris' } },
          { type: 'tool-output-available', toolCallId: 'a', output: 'soon', preliminary: true },
          { type: 'tool-output-available', toolCallId: 'a', output: { degrees: 20 } },
          { type: 'tool-call', toolCallId: 'b', toolName: 'time', input: {} },
          { type: 'tool-output-error', toolCallId: 'b', errorText: 'no clock' },
          { type: 'text-delta', delta: '20 °C' },
        ),
      ).events,
    ).toEqual([
      tool('a', 'weather', 'call', { arguments: { city: 'Paris' } }),
      tool('a', 'weather', 'result', { result: { degrees: 20 } }),
      tool('b', 'time', 'call', { arguments: {} }),
      tool('b', 'time', 'error', { result: 'no clock' }),
      { kind: 'delta', text: '20 °C' },
    ])
  })

  it('of Causeway itself, and of OpenAI’s responses', () => {
    expect(
      outcome(
        data(
          { type: 'tool', data: { id: 'a', name: 'f', status: 'call', arguments: { x: 1 } } },
          { type: 'tool', data: { id: 'a', status: 'result', result: [1] } },
        ),
      ).events,
    ).toEqual([tool('a', 'f', 'call', { arguments: { x: 1 } }), tool('a', 'f', 'result', { result: [1] })])
    expect(
      outcome(
        data(
          { type: 'response.created', response: { output: [] } },
          { type: 'response.reasoning_summary_text.delta', delta: 'no' },
          { type: 'response.output_text.delta', delta: 'Hi' },
          { type: 'response.output_text.done', text: 'Hi' },
          {
            type: 'response.output_item.done',
            item: { type: 'function_call', call_id: 'c', name: 'f', arguments: '{"x":1}' },
          },
          { type: 'response.output_item.done', item: { type: 'message', content: [{ text: 'Hi' }] } },
          {
            type: 'response.completed',
            response: {
              output: [{ content: [{ text: 'Hi' }] }],
              usage: { input_tokens: 3, output_tokens: 1 },
            },
          },
        ),
      ).events,
    ).toEqual([
      { kind: 'status', description: 'Thinking…', level: 'info' },
      { kind: 'delta', text: 'Hi' },
      tool('c', 'f', 'call', { arguments: { x: 1 } }),
      { kind: 'usage', prompt_tokens: 3, completion_tokens: 1 },
      { kind: 'finish', reason: 'stop' },
    ])
    expect(
      outcome(data({ type: 'response.failed', response: { error: { message: 'full' } } })).failure,
    ).toMatch(/full$/)
  })

  it('are an answer too, and one that broke off says nothing of a call that is not whole', () => {
    const begun = chunk({ tool_calls: [piece(0, { id: 'a', name: 'one' }, '{"x":1}')] })
    expect(outcome(data(begun, chunk({}, 'tool_calls')))).toMatchObject({ text: '', failure: null })
    const reader = new ReplyReader('')
    expect([...reader.push(utf8(data(begun)))]).toEqual([])
  })
})

describe('a model’s refusal and what its filter cut', () => {
  it('is the answer, with a word of why', () => {
    const said = (choice: object) => outcome(data({ choices: [choice] })).events
    expect(said({ delta: { refusal: 'I can’t help with that.' } })).toEqual([
      { kind: 'delta', text: 'I can’t help with that.' },
    ])
    expect(said({ delta: { content: 'Well' }, finish_reason: 'content_filter' })).toEqual([
      { kind: 'delta', text: 'Well' },
      { kind: 'status', description: 'The model’s content filter ended the answer', level: 'warning' },
      { kind: 'finish', reason: 'stop' },
    ])
  })
})

describe('one JSON document', () => {
  it('in each of the listed forms', () => {
    for (const name of ['content', 'output', 'text', 'message', 'response', 'answer'])
      answers(
        JSON.stringify({ id: 1, [name]: WORDS, more: { text: 'no' } }, null, 2),
        WORDS,
        'application/json',
      )
    answers(JSON.stringify({ choices: [{ message: { content: WORDS }, finish_reason: 'stop' }] }), WORDS)
    answers(JSON.stringify([{ output: WORDS }]), WORDS)
    answers(JSON.stringify([{ output: 'one' }, { text: 'two' }]), 'one\n\ntwo')
    answers(JSON.stringify(['one', 'two']), 'one\n\ntwo')
    answers(
      JSON.stringify([
        { type: 'text', text: 'one ' },
        { type: 'text', text: 'two' },
      ]),
      'one two',
    )
    answers(JSON.stringify(WORDS), WORDS)
    answers(`\n\n  ${JSON.stringify(WORDS)}\n`, WORDS)
  })

  it('nested, empty in one field, a number', () => {
    answers('{"content":null,"output":{"text":"x"}}', 'x')
    answers('{"content":"","answer":"x"}', 'x')
    answers(
      '{"message":{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}}',
      'ab',
    )
    answers('{"output":42}', '42')
    answers('{"content":"x","error":null}', 'x')
    answers('{"content":"x"}', 'x', 'text/html; charset=utf-8')
    answers('{"content":"\\ud83d\\ude00"}', '😀')
    answers('{"content":"\\ud83d"}', '\ufffd')
  })

  it('with what it used', () => {
    expect(outcome('{"content":"x","usage":{"input_tokens":1,"output_tokens":2}}').events).toEqual([
      { kind: 'delta', text: 'x' },
      { kind: 'usage', prompt_tokens: 1, completion_tokens: 2 },
    ])
  })

  it('with counts that are none', () => {
    for (const count of ['1.5', '-3', '1e400', '1e15', '"7"', 'true', '[]']) {
      const body = `{"content":"x","usage":{"prompt_tokens":${count},"completion_tokens":2}}`
      const usage = { kind: 'usage', prompt_tokens: null, completion_tokens: 2 }
      expect(outcome(body).events, count).toEqual([{ kind: 'delta', text: 'x' }, usage])
    }
    const ollama = '{"message":{"content":"x"},"done":true,"prompt_eval_count":0.5,"eval_count":1e400}'
    expect(outcome(ollama).events).toEqual([{ kind: 'delta', text: 'x' }])
  })

  it('that holds no answer', () => {
    expect(outcome('{"foo":"bar"}', 'application/json').failure).toMatch(
      /^upstream_error: .*without content, output/,
    )
    expect(outcome('[1, 2]', 'application/json').failure).toMatch(/^upstream_error: .*without content/)
    for (const body of ['{"content":""}', '[]', '""', '', ' \n\n', '[{"output":""}]'])
      expect(outcome(body, 'application/json').failure, body).toMatch(/^upstream_empty/)
    expect(outcome('{"error":"no credit"}').failure).toMatch(/no credit/)
    expect(outcome('{"error":{"code":7}}').failure).toBe(
      'upstream_error: The agent reported an error: it reported an error',
    )
  })

  it('that is broken', () => {
    expect(outcome('{"content":"Hel').failure).toMatch(/^upstream_reset/)
    expect(outcome('[{"content":"Hel').failure).toMatch(/^upstream_reset/)
    expect(outcome('{"content":nonsense}').failure).toMatch(/^upstream_error: .*not valid JSON/)
    expect(outcome('{content}', 'application/json').failure).toMatch(/^upstream_error: .*not valid JSON/)
  })
})

describe('plain text', () => {
  it('of any kind, without what kept the connection alive', () => {
    for (const type of ['', 'text/plain', 'text/html', 'application/json', 'text/event-stream'])
      answers(WORDS, WORDS, type)
    answers('\n\n\nHello\n\nthere\n', 'Hello\n\nthere\n')
    answers('42', '42')
    answers('<3 you', '<3 you')
    answers('<', '<')
    answers('da', 'da')
    answers('    indented', '    indented')
  })

  it('that begins like something else', () => {
    answers('[see] {"text": "twice?"} and so on', '[see] {"text": "twice?"} and so on')
    for (const text of [
      ...['"Hello," she said.', '[1] See {this}.', '{name}, hello!', '{unfinished', '["quoted" or not', '"'],
      ...[
        ':) hello',
        ': a comment',
        'id: 5 is mine\nand so on',
        'event: party\n\nat eight',
        'data',
        '<b>bold</b>',
      ],
    ])
      answers(text, text, 'text/plain')
    answers(`id: ${'x'.repeat(1100)}`, `id: ${'x'.repeat(1100)}`)
  })

  it('that is JSON of the model’s own', () => {
    answers('{"city": "Paris"}', '{"city": "Paris"}', 'text/plain; charset=utf-8')
    answers('[{"city": "Paris"}]', '[{"city": "Paris"}]', 'text/plain')
  })

  it('with bytes that are no UTF-8', () => {
    expect(read([new Uint8Array([0x48, 0xff, 0x69, 0xe2, 0x82])])).toMatchObject({
      text: 'H\ufffdi\ufffd',
      failure: null,
    })
  })
})

describe('a web page', () => {
  it('ends an event stream where it begins, with the event that was coming', () => {
    const body = 'data: {"content":"Hi"}\n\nevent: message\ndata: half of\n<html>\n\ndata: 502\n\n'
    expect(outcome(body)).toMatchObject({
      text: 'Hi',
      failure: 'upstream_html: The agent’s answer broke off into a web page',
    })
  })

  it('is refused, by its bytes', () => {
    for (const page of [
      ...[
        '<!DOCTYPE html><html></html>',
        '<html lang="en">',
        '\n\n<HTML>',
        '<head>',
        '<body>x',
        '<title>502',
      ],
      '<!doctype HTML PUBLIC "-//W3C//DTD HTML 4.01//EN">',
    ])
      for (const type of ['text/html', 'application/json', ''])
        expect(outcome(page, type), page).toMatchObject({
          text: '',
          failure: expect.stringMatching(/^upstream_html/),
        })
  })
})

describe('what has come is said at once', () => {
  const steps = (type: string, ...pieces: [string, string][]) => {
    const reader = new ReplyReader(type)
    for (const [piece, text] of pieces)
      expect(
        [...reader.push(utf8(piece))]
          .map((event) => (event.kind === 'delta' ? event.text : event.kind))
          .join('|'),
        piece,
      ).toBe(text)
  }

  it('in every form', () => {
    steps('', ['data: {"content":"a"}', ''], ['\n', 'a'], ['\ndata: {"content":"b"}\n\n', 'b'])
    steps('', ['data: a', ''], ['\n', ''], ['\n', 'a'])
    steps('application/json', ['\n', ''], ['{"type":"begin"}\n{"type":"item","content":"a"', ''], ['}', 'a'])
    steps('', ['{"response":"a","done":false}{"response":"b","done":false}{', 'a|b'])
    steps('application/json', ['{"output":"a', ''], ['"}', 'a'])
    steps('', ['H', 'H'], ['ello', 'ello'])
    steps('', ['d', ''], ['a', ''], ['y', 'day'])
    steps('', ['<', ''], ['b>', '<b>'])
  })
})

describe('bodies of any kind', () => {
  const PIECES = [
    ...[
      'data: ',
      'data:',
      'event: message\n',
      'event: done\n',
      'event: error\n',
      'id: 3\n',
      'retry: 5\n',
      ': hb\n\n',
    ],
    ...[
      '\n',
      '\n\n',
      '\r\n',
      '\r\n\r\n',
      '\r',
      ' ',
      '[DONE]',
      '[1]',
      '{',
      '}',
      '12',
      'null',
      '"str"',
      '<html>',
      '<!doctype html>',
    ],
    ...[
      'plain ünï 😀',
      '{"content":"a\\ud83d\\ude00b"}',
      '{"output":"',
      'rest"}',
      '[{"output":"1"},{"text":"2"}]',
      '{"error":"bad"}',
    ],
    ...[
      '{"type":"begin"}',
      '{"type":"item","content":"x y"}',
      '{"type":"item","content":{"output":"o"}}',
      '{"type":"end"}',
    ],
    ...[
      '{"choices":[{"delta":{"content":"z"}}]}',
      '{"response":"r","done":false}',
      '{"type":"error","content":"e"}',
    ],
  ]
  const TYPES = ['', 'application/json', 'text/event-stream', 'text/plain', 'text/html']

  it('are read the same however they are cut', () => {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 1
    let state = seed
    const below = (most: number) => {
      // xorshift32
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      return (state >>> 0) % most
    }
    for (let turn = 0; turn < 1_500; turn++) {
      const body = Array.from({ length: 1 + below(8) }, () => PIECES[below(PIECES.length)]).join('')
      const type = TYPES[below(TYPES.length)]
      const bytes = utf8(body)
      const cut = 1 + below(bytes.length)
      const pieces = [bytes.subarray(0, cut), bytes.subarray(cut)].filter(({ length }) => length > 0)
      const said = `seed ${seed}: ${JSON.stringify(body)} as ${type}, cut at ${cut}`
      const whole = read([bytes], type)
      expect(read(pieces, type), said).toEqual(whole)
      expect(
        read(
          Array.from(bytes, (byte) => new Uint8Array([byte])),
          type,
        ),
        said,
      ).toEqual(whole)
    }
  })
})
