import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const MASTER_KEY = /^MASTER_KEY=.*$/m
const VAPID_PRIVATE_KEY = /^VAPID_PRIVATE_KEY=.*$/m

/** Makes .dev.vars from its example with fresh keys, readable by its owner only, unless there is one. */
export function ensureDevVars(root) {
  const target = path.join(root, '.dev.vars')
  if (existsSync(target)) return false
  const example = readFileSync(path.join(root, '.dev.vars.example'), 'utf8')
  // The prefix marks it: production refuses to start with a secret that was made for development.
  const key = `dev_${randomBytes(36).toString('base64url')}`
  const vapid = randomBytes(32).toString('base64url')
  const text = example
    .replace(MASTER_KEY, `MASTER_KEY=${key}`)
    .replace(VAPID_PRIVATE_KEY, `VAPID_PRIVATE_KEY=${vapid}`)
  writeFileSync(target, text, { mode: 0o600, flag: 'wx' })
  return true
}

/** The value of `name` in .dev.vars; undefined where it is not set there. */
export function devVar(root, name) {
  const text = readFileSync(path.join(root, '.dev.vars'), 'utf8')
  const value = new RegExp(`^\\s*${name}\\s*=\\s*(.*?)\\s*$`, 'm').exec(text)?.[1]
  return value?.replace(/^(["'])(.*)\1$/, '$2')
}
