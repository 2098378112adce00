import type { StepDefinition } from './definition'
import { refusalOfText, textsIn } from './template'

// Whether the steps of a workflow fit together.

type Issue = { path: (string | number)[]; message: string }

/** What is wrong with steps that are well formed each: names, where they lead, and the values that they use. */
export function issuesOfFlow(steps: readonly StepDefinition[]): Issue[] {
  const names = new Set(steps.map(({ name }) => name))
  return steps.flatMap((step, i) => {
    const issues: Issue[] = []
    const refuse = (path: (string | number)[], message: string) =>
      issues.push({ path: [i, ...path], message })
    if (steps.findIndex(({ name }) => name === step.name) < i) refuse(['name'], 'is the name of another step')
    const leads = (name: string | null | undefined, path: (string | number)[]) => {
      if (name && !names.has(name)) refuse(path, `leads to ${name}, which is no step of the workflow`)
    }
    leads(step.next, ['next'])
    leads(step.on_failure, ['on_failure'])
    if (step.type === 'branch')
      for (const [n, { next }] of step.branches.entries()) leads(next, ['branches', n, 'next'])
    if (step.type === 'wait' && (step.seconds === undefined) === (step.until === undefined))
      refuse(['seconds'], 'must be given, or until, but not both')
    if (step.type === 'http' && step.method === 'GET' && step.body !== undefined)
      refuse(['body'], 'can’t be sent with GET')
    for (const { at, text, secrets } of templatesOf(step)) {
      const refusal = refusalOfText(text, names, secrets)
      if (refusal !== null) refuse(at.split('.'), refusal)
    }
    return issues
  })
}

/** The texts of a step that may use values, and whether secrets too. */
function templatesOf(step: StepDefinition): { at: string; text: string; secrets: boolean }[] {
  const texts = (value: unknown, at: string, secrets = false) =>
    textsIn(value, at).map((one) => ({ ...one, secrets }))
  switch (step.type) {
    case 'http':
      return [
        ...texts(step.url, 'url'),
        ...texts(step.headers, 'headers', true),
        ...texts(step.body, 'body', true),
      ]
    case 'webhook':
      return [...texts(step.data, 'data'), ...texts(step.subject, 'subject')]
    case 'agent':
      return texts(step.prompt, 'prompt')
    case 'wait':
      return texts(step.until, 'until')
    case 'branch':
      return []
  }
}
