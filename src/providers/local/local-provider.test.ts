import { describe, expect, it } from 'vitest'
import { AnyplaceError } from '../../spec/index.ts'
import type { Engine, Finding, HostInfo, Machine, MachineFacts } from '../../spec/index.ts'
import { chooseEngine } from '../../engines/choose-engine.ts'
import { localFacts } from './local-facts.ts'
import { localMachine } from './local-machine.ts'
import { localProvider } from './local-provider.ts'

const works = (name: string): Engine => engine(name, { subject: name, status: 'ok', message: 'works' })
const broken = (name: string): Engine =>
  engine(name, { subject: name, status: 'unavailable', message: `${name} is missing`, hint: `install ${name}` })

/** An engine that only answers what the choice asks. */
function engine(name: string, finding: Finding, more: Partial<Engine> = {}): Engine {
  const refuse = (): never => {
    throw new Error(`${name} was asked to work`)
  }
  return {
    name,
    open: refuse,
    attach: async () => undefined,
    async *list() {},
    remove: async () => undefined,
    check: async () => finding,
    ...more,
  }
}

const facts = { containerSigns: [] } as unknown as MachineFacts
const container = { containerSigns: ['/run/.containerenv exists'] } as unknown as MachineFacts
const all = [broken('docker'), works('podman'), works('namespace'), works('direct')]

describe('chooseEngine', () => {
  it('takes the first that works, and says what it passed over', async () => {
    expect(await chooseEngine(all, facts, undefined)).toMatchObject({
      engine: { name: 'podman' },
      reason: expect.stringContaining('after docker'),
    })
  })

  it('takes direct inside a container, and tells the sign', async () => {
    expect(await chooseEngine(all, container, undefined)).toMatchObject({
      engine: { name: 'direct' },
      reason: expect.stringContaining('.containerenv'),
    })
  })

  it('takes what was asked for without a check, also inside a container', async () => {
    expect((await chooseEngine(all, container, 'docker')).engine.name).toBe('docker')
    await expect(chooseEngine(all, facts, 'vmware')).rejects.toMatchObject({
      code: 'invalid-argument',
      field: 'engine',
    })
  })

  it('never falls back to direct: it names every engine with its reason and the next step', async () => {
    const none = [broken('docker'), broken('podman'), broken('namespace'), works('direct')]
    const error: unknown = await chooseEngine(none, facts, undefined).catch((failure: unknown) => failure)
    expect(error).toMatchObject({ code: 'engine-unavailable' })
    for (const name of ['docker', 'podman', 'namespace']) {
      expect((error as AnyplaceError).message).toContain(`${name}: ${name} is missing`)
      expect((error as AnyplaceError).hint).toContain(`install ${name}`)
    }
    expect((error as AnyplaceError).hint).toContain('local/direct')
  })
})

describe('localProvider', () => {
  const unreachable = (): never => {
    throw new AnyplaceError('engine-unavailable', 'nothing listens')
  }
  const info = { id: 'abcdefghijkl', name: 'one' } as HostInfo
  const deaf = engine(
    'docker',
    { subject: 'docker', status: 'unavailable', message: 'deaf' },
    {
      attach: async () => unreachable(),
      // eslint-disable-next-line require-yield -- it fails before it has anything to give
      async *list() {
        unreachable()
      },
      remove: async () => unreachable(),
    },
  )
  const removed: string[] = []
  const full = engine(
    'namespace',
    { subject: 'namespace', status: 'ok', message: 'works' },
    {
      async *list() {
        yield info
      },
      remove: async (id) => void removed.push(id),
    },
  )
  const machine: Machine = { ...localMachine(), facts: async () => ({ ...(await localFacts()), containerSigns: [] }) }
  const provider = localProvider({ machine, engines: () => [deaf, full, works('direct')] })

  it('skips engines that cannot be reached, and asks all others', async () => {
    const found: HostInfo[] = []
    for await (const each of provider.list()) found.push(each)
    expect(found).toEqual([info])
    expect(await provider.attach('one')).toBeUndefined()
    await provider.remove('abcdefghijkl')
    expect(removed).toEqual(['abcdefghijkl'])
  })

  it('reports any other failure', async () => {
    const failing = engine(
      'podman',
      { subject: 'podman', status: 'ok', message: 'works' },
      {
        remove: async () => {
          throw new AnyplaceError('permission-denied', 'not yours')
        },
      },
    )
    const strict = localProvider({ machine, engines: () => [failing, full] })
    await expect(strict.remove('abcdefghijkl')).rejects.toMatchObject({ code: 'permission-denied' })
  })

  it('tells which engine is chosen and why each other one is not', async () => {
    const findings = await provider.check()
    expect(findings.map(({ subject, status }) => [subject, status])).toEqual([
      ['engine', 'ok'],
      ['docker', 'unavailable'],
      ['namespace', 'ok'],
      ['direct', 'ok'],
      ['cgroups', expect.stringMatching(/ok|warning/)],
    ])
    expect(findings[0]?.message).toContain('uses namespace')
    expect(findings[3]?.message).toContain('only when asked for')
  })
})

async function collected(infos: AsyncIterable<HostInfo>): Promise<readonly HostInfo[]> {
  const found: HostInfo[] = []
  for await (const info of infos) found.push(info)
  return found
}

describe('an engine that does not answer', () => {
  const refuse = async (): Promise<never> => {
    throw new AnyplaceError('engine-unavailable', 'docker does not answer')
  }
  const dead = engine(
    'docker',
    { subject: 'docker', status: 'unavailable', message: 'missing' },
    {
      attach: refuse,
      remove: refuse,
      async *list() {
        yield await refuse()
      },
    },
  )
  const engines = (): readonly Engine[] => [dead, works('direct')]

  it('is one place fewer to look when no engine was named', async () => {
    const provider = localProvider({ engines })
    expect(await collected(provider.list())).toEqual([])
    expect(await provider.attach('x')).toBeUndefined()
    await provider.remove('x')
  })

  it('is an error when it was named', async () => {
    const provider = localProvider({ engines, engine: 'docker' })
    await expect(collected(provider.list())).rejects.toMatchObject({ code: 'engine-unavailable' })
    await expect(provider.attach('x')).rejects.toMatchObject({ code: 'engine-unavailable' })
    await expect(provider.remove('x')).rejects.toMatchObject({ code: 'engine-unavailable' })
  })
})
