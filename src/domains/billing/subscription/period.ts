/** The same day a month later, or the month’s last where it has no such day. */
export function monthLater(time: string): string {
  const from = new Date(time)
  const to = new Date(from)
  to.setUTCMonth(to.getUTCMonth() + 1)
  if (to.getUTCDate() !== from.getUTCDate()) to.setUTCDate(0)
  return to.toISOString()
}
