import { log as logger } from '../../../lib/log'
import type { AlarmName, Alarms } from './alarms'

/** What is done for each name that the object can be woken for. */
export type Duties = Record<AlarmName, () => void | Promise<void>>

/** Does all that the object was woken for; never throws. */
export async function doWhatIsDue(alarms: Alarms, duties: Duties, chatId: string): Promise<void> {
  for (const name of alarms.take(Date.now())) {
    try {
      await duties[name]()
    } catch (error) {
      logger.error('chat_alarm_failed', { name, chat_id: chatId, cause: String(error) })
    }
  }
}
