import * as z from 'zod'

const MUST = 'must be a language tag, such as en or de-CH'

/** As BCP 47 has it; kept in its canonical form. */
export const Language = z
  .string(MUST)
  .max(35, MUST)
  .refine(isLanguage, MUST)
  .overwrite((tag) => (isLanguage(tag) ? (Intl.getCanonicalLocales(tag)[0] ?? tag) : tag))

function isLanguage(tag: string): boolean {
  try {
    return Intl.getCanonicalLocales(tag).length === 1
  } catch {
    return false
  }
}
