import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { doc, open, returnsPage } from '../../http/route'
import { limitsOf, PLAN_NAMES, termsOf, UNLIMITED_USERS } from '../tenancy/plans'
import { PlanView } from './schema'

const plans = PLAN_NAMES.map((name) => {
  const { users } = termsOf(name)
  return {
    name,
    limits: limitsOf({ plan: name, rate_limits: {} }),
    users: users === UNLIMITED_USERS ? null : users,
  }
})
const page = { items: Object.freeze(plans) as typeof plans, next_cursor: null }

export const billing = new Hono<AppEnv>().get(
  '/plans',
  doc('List the plans', { tag: 'Billing', description: 'What each plan means, smallest first.' }),
  open(),
  returnsPage(PlanView),
  (c) => c.var.reply(page),
)
