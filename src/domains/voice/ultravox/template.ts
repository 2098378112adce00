import type { AgentRow } from '../../chat/agents/table'
import type { ToolRow } from '../../tools/table'
import type { VoiceRow } from '../voices/table'
import { type AgentBody, seconds } from './client'
import { CALL_TOKEN } from './variables'

/** Longer names, and other characters, Ultravox does not take. */
const MOST_NAME = 64
/** Of a language tag. */
const MOST_LANGUAGE = 16
/** Where a call's token goes along when Ultravox calls a tool of ours. */
export const CALL_TOKEN_HEADER = 'X-Causeway-Call-Token'
/** What agents with knowledge bases look things up by; another where a tool of the tenant’s is called so. */
const KNOWLEDGE_TOOL = 'search_knowledge'
/** A tool of the tenant’s may take ten seconds; ours is called, which calls it. */
const TOOL_SECONDS = 15

export type Speaking = {
  voice: VoiceRow | null
  tools: readonly ToolRow[]
  publicUrl: string
  model?: string
  /** Whether the account is the tenant’s own. */
  own: boolean
}

/** What of a `config` goes along to the operator’s account: what its voices, tools and addresses are is not a tenant’s. */
const SHARED = [
  ...['temperature', 'maxDuration', 'timeExceededMessage', 'inactivityMessages'],
  ...['vadSettings', 'recordingEnabled', 'initialOutputMedium'],
]
/** Ultravox’s own tools, which ask nobody (docs.ultravox.ai/tools/built-in-tools). */
const BUILT_IN = ['hangUp', 'leaveVoicemail', 'playDtmfSounds']

/** What an agent is called there: by its own id, so that it is found again. */
export function agentName({ id, name }: Pick<AgentRow, 'id' | 'name'>): string {
  const words = name.normalize('NFKD').replace(/[^A-Za-z0-9]+/g, '-')
  const most = MOST_NAME - id.length - 1
  return `${words.replace(/^-+/, '').slice(0, most).replace(/-+$/, '') || 'agent'}-${id}`
}

/**
 * An agent as Ultravox keeps it (docs.ultravox.ai/api-reference/agents/agents-post). Its `config` goes along as it is, but
 * for what the agent itself says; to the operator’s account, what can’t reach what is the operator’s.
 */
export function agentBody(agent: AgentRow, speaking: Speaking): AgentBody {
  const { system_prompt, language, greeting } = agent
  const config = speaking.own ? agent.config : shared(agent.config)
  const hint = language !== null && language.length > MOST_LANGUAGE ? language.split('-')[0] : language
  const chosen = voiceOf(speaking.voice)
  const { voice, externalVoice, ...rest } = config
  return {
    name: agentName(agent),
    callTemplate: {
      ...{ recordingEnabled: true, ...(speaking.model ? { model: speaking.model } : {}), ...rest },
      systemPrompt: system_prompt ?? '',
      ...(hint ? { languageHint: hint } : {}),
      // One of the two, which Ultravox refuses together.
      ...(chosen ?? { ...(voice ? { voice } : {}), ...(externalVoice ? { externalVoice } : {}) }),
      firstSpeakerSettings: firstSpeaker(greeting),
      selectedTools: selectedTools({ ...agent, config }, speaking),
    },
  }
}

function shared(config: AgentRow['config']): AgentRow['config'] {
  const given = Array.isArray(config.selectedTools) ? config.selectedTools : []
  const selectedTools = given.flatMap((tool: unknown) => {
    const { toolName } = objectIn(tool)
    return BUILT_IN.some((name) => name === toolName) ? [{ toolName }] : []
  })
  const plain = SHARED.flatMap((name) => (name in config ? [[name, config[name]]] : []))
  return { ...Object.fromEntries(plain), selectedTools }
}

/** The agent says its greeting; without one whoever was called speaks first. */
export const firstSpeaker = (greeting: string | null) =>
  greeting === null || greeting === '' ? { user: {} } : { agent: { text: greeting } }

/** A voice that is not ready is none yet: the one of the agent’s `config` speaks, or Ultravox’s own. */
function voiceOf(voice: VoiceRow | null): Record<string, unknown> | null {
  if (voice?.status !== 'ready' || voice.provider_voice_id === null) return null
  if (voice.provider === 'ultravox') return { voice: voice.provider_voice_id }
  if (voice.provider === 'elevenlabs')
    return { externalVoice: { elevenLabs: { voiceId: voice.provider_voice_id } } }
  return null
}

/**
 * Those of its `config` (Ultravox’s own, such as hangUp), and its tools, which Ultravox calls through us: so a tool’s
 * secrets stay here, and its address is asked under our rules. Each call brings a token of its own.
 */
function selectedTools(agent: AgentRow, { tools, publicUrl }: Speaking) {
  const given = Array.isArray(agent.config.selectedTools) ? agent.config.selectedTools : []
  const all = [...given, ...tools.map((tool) => temporaryTool(publicUrl, tool.id, tool))]
  if (agent.knowledge_base_ids.length === 0) return all
  return [...all, temporaryTool(publicUrl, 'knowledge', { ...KNOWLEDGE, name: freeName(tools) })]
}

/** Ultravox refuses two tools of one name. */
function freeName(tools: readonly ToolRow[]): string {
  const taken = new Set(tools.map(({ name }) => name))
  let name = KNOWLEDGE_TOOL
  for (let n = 2; taken.has(name); n++) name = `${KNOWLEDGE_TOOL}_${n}`
  return name
}

const KNOWLEDGE = {
  description:
    'Looks things up in what you know: call it before you answer a question about facts, and answer by what it finds.',
  parameters: {
    type: 'object',
    properties: { query: { type: 'string', description: 'What to look for, in a few words.' } },
    required: ['query'],
  },
}

function temporaryTool(
  publicUrl: string,
  path: string,
  { name, description, parameters }: Pick<ToolRow, 'name' | 'description' | 'parameters'>,
) {
  const properties = objectIn(parameters.properties)
  const required = Array.isArray(parameters.required) ? parameters.required : []
  // Each parameter’s schema stands alone there, with what it may refer to.
  const { $defs, definitions } = parameters
  const defs = { ...($defs ? { $defs } : {}), ...(definitions ? { definitions } : {}) }
  return {
    temporaryTool: {
      ...{ modelToolName: name, description: plain(description), timeout: seconds(TOOL_SECONDS) },
      dynamicParameters: Object.entries(properties).map(([parameter, schema]) => ({
        ...{ name: parameter, location: 'PARAMETER_LOCATION_BODY', required: required.includes(parameter) },
        schema: plain({ ...objectIn(schema), ...defs }),
      })),
      staticParameters: [
        {
          ...{ name: CALL_TOKEN_HEADER, location: 'PARAMETER_LOCATION_HEADER' },
          value: `{{${CALL_TOKEN}}}`,
        },
      ],
      http: { baseUrlPattern: `${publicUrl}/api/v1/calls/tools/${path}`, httpMethod: 'POST' },
    },
  }
}

/** Two braces would name something that each call has to fill in; in JSON they stand within texts alone. */
const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value).replace(/\{(?=\{)/g, '{ '))

const objectIn = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}
