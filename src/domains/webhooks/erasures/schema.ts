import { Subject } from '../../events/schema'

export const EraseSubject = {
  subject: Subject.meta({ description: 'Whose events are erased.', example: 'customer-42' }),
}
