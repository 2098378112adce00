import * as z from 'zod'

/** A telephone number as networks know it: a plus, the country and the number, 15 digits at most (ITU-T E.164). */
export const isPhone = (text: string): boolean => /^\+[1-9]\d{6,14}$/.test(text)

const FORM =
  'must be a telephone number in E.164: a plus, the country code and the number, such as +14155550123'

export const Phone = z.string(FORM).trim().refine(isPhone, FORM).meta({ example: '+14155550123' })
