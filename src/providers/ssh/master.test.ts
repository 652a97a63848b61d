import { existsSync, lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { forgetMaster } from './master.ts'

test('a dead master is set aside once: not its successor too, when two programs found it dead', () => {
  const directory = mkdtempSync(join(tmpdir(), 'anyplace-master-'))
  try {
    const controlPath = join(directory, 'shared')
    writeFileSync(controlPath, '')
    const found = { controlPath, resolved: undefined, inode: lstatSync(controlPath).ino }
    forgetMaster({ ...found, inode: found.inode - 1 })
    expect(existsSync(controlPath)).toBe(true)
    forgetMaster(found)
    expect(existsSync(controlPath)).toBe(false)
    forgetMaster(found)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
