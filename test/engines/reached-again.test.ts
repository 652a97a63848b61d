import { expect, it } from 'vitest'
import { directEngine } from '../../src/engines/direct/index.ts'
import { namespaceEngine } from '../../src/engines/namespace/index.ts'
import { openDaemonSession } from '../../src/execd/session.ts'
import { AnyplaceError } from '../../src/spec/index.ts'
import type { Machine } from '../../src/spec/index.ts'
import { enginePlace } from '../support/engine-place.ts'

it.each([
  ['direct', directEngine],
  ['namespace', namespaceEngine],
])('a running sandbox of %s is reached over its own socket, with nothing started for it', async (_name, engine) => {
  const started: string[] = []
  await using place = await enginePlace((machine: Machine) =>
    engine({
      ...machine,
      run: (argv, options) => {
        started.push(argv.join(' '))
        return machine.run(argv, options)
      },
    }),
  )
  const box = await place.open()
  const again = await place.engine.attach(box.host.id)
  started.length = 0
  await using session = await openDaemonSession(await again!.connect())
  await using process = await session.spawn(['echo', 'reached'])
  expect(await new Response(process.stdout).text()).toBe('reached\n')
  expect(started).toEqual([])
})

it('the end of a sandbox is told by who looks why nothing answers', async () => {
  await using place = await enginePlace(directEngine)
  const box = await place.open()
  const again = await place.engine.attach(box.host.id)
  await box.host.close()
  await expect(again!.connect()).rejects.toMatchObject({ code: 'sandbox-gone' })
  await expect(again!.connect({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' })
})

it('a link that breaks is not the end of a sandbox, and one that breaks while it is closed is no matter', async () => {
  let cuts = 0
  const lost = (): Promise<never> => {
    cuts--
    return Promise.reject(new AnyplaceError('connection-lost', 'The link was cut.'))
  }
  await using place = await enginePlace((machine: Machine) =>
    directEngine({
      ...machine,
      isLocal: false,
      run: (argv, options) => (cuts > 0 ? lost() : machine.run(argv, options)),
      readFile: (path, options) => (cuts > 0 ? lost() : machine.readFile(path, options)),
      connectDirectly: (path, options) => (cuts > 0 ? lost() : machine.connectDirectly(path, options)),
    }),
  )
  const box = await place.open()
  const again = await place.engine.attach(box.host.id)
  cuts = 10
  await expect(again!.connect()).rejects.toMatchObject({ code: 'connection-lost' })
  cuts = 1
  await box.host.close()
  expect(cuts).toBe(0)
  await expect(place.engine.attach(box.host.id)).resolves.toBeUndefined()
})
