import { lstatSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { systemPath } from '../../kit/system-path.ts'
import { bytesToText } from '../../kit/text-bytes.ts'

/** Removes a local file, link or tree. Follows no link, and takes names of any bytes. Nothing when it is gone already. */
export function removeLocal(path: string): void {
  const stats = lstatSync(systemPath(path), { throwIfNoEntry: false })
  if (stats === undefined) return
  if (!stats.isDirectory()) {
    unlinkSync(systemPath(path))
    return
  }
  for (const name of readdirSync(systemPath(path), 'buffer')) removeLocal(`${path}/${bytesToText(name)}`)
  rmdirSync(systemPath(path))
}
