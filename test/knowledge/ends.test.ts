import { describe, expect, it } from 'vitest'
import { firstOf, forget } from '../../src/domains/knowledge/ends'

const PDF = { content_type: 'application/pdf', filename: 'large.pdf' }

describe('a PDF that may be the end of an isolate', () => {
  it('is read once it stands that it is begun', () => {
    expect(firstOf('job-a/0', 0, PDF)).toBe('note')
    expect(firstOf('job-a/0', 1, PDF)).toBe('nothing')
    // A step that fails, or can't be written, is made again by the same isolate.
    expect(firstOf('job-a/0', 1, PDF)).toBe('nothing')
    expect(firstOf('job-a/1', 0, PDF)).toBe('note')
  })

  it('is begun anew by another isolate, three times, and then given up', () => {
    let begun = 0
    for (const _ of [1, 2, 3]) {
      expect(firstOf('job-b/0', begun, PDF)).toBe('note')
      begun += 1
      expect(firstOf('job-b/0', begun, PDF)).toBe('nothing')
      // The isolate ends, and what it knew.
      forget('job-b/0', begun)
    }
    expect(firstOf('job-b/0', begun, PDF)).toBe('give up')
  })

  it('is nothing that a text can do', () => {
    expect(firstOf('job-c/0', 0, { content_type: 'text/plain', filename: 'notes.txt' })).toBe('nothing')
  })
})
