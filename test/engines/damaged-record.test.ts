import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { directEngine } from '../../src/engines/direct/index.ts'
import { enginePlace } from '../support/engine-place.ts'

it('a record that cannot be read does not hide the other sandboxes', async () => {
  await using place = await enginePlace(directEngine)
  const box = await place.open()
  const damaged = join(place.stateDirectory, 'sandboxes', 'damaged00000')
  await mkdir(damaged)
  await writeFile(join(damaged, 'sandbox.json'), '')
  const ids: string[] = []
  for await (const info of place.engine.list()) ids.push(info.id)
  expect(ids).toEqual([box.host.id])
  await expect(place.engine.attach('damaged00000')).rejects.toMatchObject({ code: 'internal' })
})
