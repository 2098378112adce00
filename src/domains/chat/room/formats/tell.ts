import { asEvents } from './events'
import type { FormatName, Telling, ToldRun } from './format'
import { AsOpenai } from './openai'
import { AsUi } from './ui'

/** How a run is told in a format. */
export function tellingOf(format: FormatName, run: ToldRun): Telling {
  switch (format) {
    case 'events':
      return asEvents
    case 'ui':
      return new AsUi(run)
    case 'openai':
      return new AsOpenai(run, false)
    case 'openai+usage':
      return new AsOpenai(run, true)
  }
}
