import { addStat, emptyStat, OTHERS, PARTS, type Parts, type Stat } from './stat'

/** Letters, a byte each, of the parts of one time: its row ends at 2 MB, and the total stands in it too. */
const MOST_LETTERS = 1_800_000

/** The parts as they are kept. Where they are more than a row holds, names that had least become `others`; no request is lost. */
export function fitting(parts: Parts): string {
  let text = JSON.stringify(parts)
  while (text.length > MOST_LETTERS) {
    const [longest = 'caller'] = PARTS.toSorted((a, b) => namesIn(parts[b]) - namesIn(parts[a]))
    parts[longest] = halved(parts[longest])
    text = JSON.stringify(parts)
  }
  return text
}

const namesIn = (stats: Record<string, Stat>): number => Object.keys(stats).length

function halved({ [OTHERS]: others = emptyStat(), ...stats }: Record<string, Stat>): Record<string, Stat> {
  const named = Object.entries(stats).sort(([, a], [, b]) => b.requests - a.requests)
  for (const [, stat] of named.splice(Math.floor(named.length / 2))) addStat(others, stat)
  return { ...Object.fromEntries(named), [OTHERS]: others }
}
