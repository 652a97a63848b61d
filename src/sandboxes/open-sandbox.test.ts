import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { AnyplaceError } from '../spec/index.ts'
import { FakeProvider, lost, openFakeSession } from '../../test/fixtures/fake-provider.ts'
import type { FakeCommand } from '../../test/fixtures/fake-command.ts'
import type { FakePlace } from '../../test/fixtures/fake-provider.ts'
import { attachSandbox } from './attach-sandbox.ts'
import { openSandbox } from './open-sandbox.ts'
import type { SandboxOptions } from './open-options.ts'

function world() {
  const provider = new FakeProvider()
  const context = { provider, openSession: openFakeSession }
  return {
    provider,
    context,
    open: (options: SandboxOptions = {}) => openSandbox(context, options),
    place: () => [...provider.places.values()][0] as FakePlace,
  }
}

describe('ownership', () => {
  test('an unnamed sandbox belongs to this process and ends with `await using`', async () => {
    const { provider, open } = world()
    {
      await using box = await open()
      expect(provider.requests[0]?.owner?.pid).toBe(process.pid)
      expect(box.name).toMatch(/^[a-z]+-[a-z]+-[0-9a-f]{4}$/)
    }
    expect(provider.places.size).toBe(0)
  })

  test.each([{ name: 'mine' }, { detached: true }])(
    '%j belongs to nobody and outlives `await using`',
    async (options) => {
      const { provider, open, place } = world()
      {
        await using _box = await open(options)
      }
      expect(provider.requests[0]?.owner).toBeUndefined()
      expect(place().sessions.size).toBe(0)
      expect(place().ended).toBeUndefined()
    },
  )

  test('close is idempotent, and what comes later is sandbox-gone', async () => {
    const { provider, open } = world()
    const box = await open({ name: 'mine' })
    await Promise.all([box.close(), box.close()])
    await box.close()
    expect(provider.places.size).toBe(0)
    await expect(box.run(['true'])).rejects.toMatchObject({ code: 'sandbox-gone' })
  })
})

describe('names', () => {
  test('the same name and spec is the running sandbox; lifetimes and labels do not count', async () => {
    const { provider, open } = world()
    const first = await open({ name: 'mine', cpu: 1, timeoutMs: 1000 })
    const second = await open({ name: 'mine', cpu: 1, timeoutMs: 9000, labels: { a: 'b' } })
    expect(second.id).toBe(first.id)
    expect(provider.requests.length).toBe(1)
  })

  test('another spec is a conflict that names the fields, not the values', async () => {
    const { open } = world()
    await open({ name: 'mine', cpu: 1, env: { A: 'value-one' } })
    const error = await open({ name: 'mine', cpu: 1, env: { A: 'value-two' }, network: false }).catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'conflict', data: { differs: 'env,network' } })
    expect(inspect(error)).not.toMatch(/value-(one|two)/)
  })

  test('of many at once one creates and the others attach', async () => {
    const { provider, open } = world()
    const boxes = await Promise.all(Array.from({ length: 10 }, () => open({ name: 'mine' })))
    expect(new Set(boxes.map((box) => box.id)).size).toBe(1)
    expect(provider.places.size).toBe(1)
  })

  test('attach: by name and id; a near name is suggested', async () => {
    const { context, open } = world()
    const box = await open({ name: 'mine' })
    expect((await attachSandbox(context, box.id)).id).toBe(box.id)
    await expect(attachSandbox(context, 'mime')).rejects.toMatchObject({
      code: 'sandbox-not-found',
      hint: 'did you mean mine?',
    })
  })
})

test('nothing is left when the session cannot be opened, or when it is cancelled in between', async () => {
  const { provider, open } = world()
  provider.onOpen = (place) => {
    place.unreachable = new AnyplaceError('protocol-error', 'not our daemon')
  }
  await expect(open()).rejects.toMatchObject({ code: 'protocol-error' })
  const abort = new AbortController()
  provider.onOpen = () => abort.abort()
  await expect(open({ signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' })
  await expect(open({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'cancelled' })
  expect(provider.places.size).toBe(0)
})

describe('a lost link', () => {
  test('the next call connects again, one at a time, and the lifetime stays', async () => {
    const { open, place } = world()
    const box = await open({ timeoutMs: 60_000 })
    const { expiresAt } = await box.info()
    place().breakLinks()
    await Promise.all([box.info(), box.processes(), box.run(['true'])])
    expect(place().connects).toBe(2)
    expect((await box.info()).expiresAt).toEqual(expiresAt)
  })

  test('run goes on from the byte reached: nothing is missing, nothing comes twice', async () => {
    const { open, place } = world()
    const box = await open()
    const print = async (command: FakeCommand): Promise<void> => {
      for (let part = 0; part < 5; part++) {
        command.print(`out ${part};`)
        command.print(`err ${part};`, 'stderr')
        await new Promise((resolve) => setTimeout(resolve, 5))
        if (part % 2 === 1) place().breakLinks()
      }
      command.end(7)
    }
    place().onSpawn = (command) => void print(command)
    const result = await box.run(['job'])
    expect(result).toMatchObject({
      exitCode: 7,
      stdout: 'out 0;out 1;out 2;out 3;out 4;',
      stderr: 'err 0;err 1;err 2;err 3;err 4;',
    })
    expect(place().commands.size).toBe(1)
  })

  test('a link that breaks while the command starts does not start it twice', async () => {
    const { open, place } = world()
    const box = await open()
    place().onSpawn = (command) => {
      place().breakLinks()
      command.print('once')
      command.end()
    }
    expect(await box.run(['job'])).toMatchObject({ exitCode: 0, stdout: 'once' })
    expect(place().commands.size).toBe(1)
  })

  test('nor does one that breaks once more while it is made again', async () => {
    const { open, place } = world()
    const box = await open()
    place().onSpawn = (command) => {
      let looks = 2 // one connection's: whether it fails, and with what
      Object.defineProperty(place(), 'unreachable', { get: () => (looks-- > 0 ? lost() : undefined) })
      place().breakLinks()
      command.print('once')
      command.end()
    }
    expect(await box.run(['job'])).toMatchObject({ exitCode: 0, stdout: 'once' })
    expect(place().commands.size).toBe(1)
  })

  test('run with input is killed, since nobody knows how much arrived', async () => {
    const { open, place } = world()
    const box = await open()
    place().onSpawn = () => setTimeout(() => place().breakLinks(), 5)
    const failure = await box.run(['cat'], { input: 'hello' }).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'connection-lost', retryable: false, data: { outcome: 'unknown' } })
    expect([...place().commands.values()][0]?.killed).toBe(true)
  })

  test('run whose process is not known any more says what is unknown', async () => {
    const { open, place } = world()
    const box = await open()
    place().onSpawn = (command) => {
      command.print('12345')
      place().commands.clear()
      setTimeout(() => place().breakLinks(), 5)
    }
    const failure = await box.run(['job']).catch((error: unknown) => error)
    expect(failure).toMatchObject({
      code: 'connection-lost',
      data: { processId: 'p1', stdoutOffset: 5, outcome: 'unknown' },
    })
    expect((failure as Error).message).toContain('whether and how it ended is unknown')
  })

  test('a place that ended under us is sandbox-gone with the reason, for a running command and for the next', async () => {
    const { open, place } = world()
    const box = await open()
    place().onSpawn = () => place().finish('out of memory')
    for (let turn = 0; turn < 2; turn++) {
      await expect(box.run(['job'])).rejects.toMatchObject({
        code: 'sandbox-gone',
        message: expect.stringContaining('out of memory') as string,
      })
    }
    await box.close()
  })

  test('a handle of spawn errors with connection-lost, and attach works', async () => {
    const { open, place } = world()
    const box = await open()
    place().onSpawn = () => undefined
    const process = await box.spawn(['job'])
    const waiting = process.wait()
    place().breakLinks()
    await expect(waiting).rejects.toMatchObject({ code: 'connection-lost' })
    const again = await box.attach(process.id)
    place().commands.get(process.id)?.end(3)
    expect((await again.wait()).exitCode).toBe(3)
  })

  test('a platform that is unreachable for a while is not taken for gone', async () => {
    const { open, place } = world()
    const box = await open()
    place().unreachable = lost()
    place().breakLinks()
    await expect(box.info()).rejects.toMatchObject({ code: 'connection-lost' })
    place().unreachable = undefined
    expect((await box.run(['true'])).exitCode).toBe(0)
  })
})

describe('run', () => {
  test('an abort after the start resolves with 130 and the partial output; before it rejects', async () => {
    const { open, place } = world()
    const box = await open()
    const abort = new AbortController()
    place().onSpawn = (command) => {
      command.print('partial')
      setTimeout(() => abort.abort(), 5)
    }
    expect(await box.run(['job'], { signal: abort.signal })).toMatchObject({ exitCode: 130, stdout: 'partial' })
    await expect(box.run(['job'], { signal: abort.signal })).rejects.toMatchObject({ code: 'cancelled' })
    expect(place().commands.size).toBe(1)
  })

  test('check rejects on a non-zero exit', async () => {
    const { open, place } = world()
    const box = await open()
    place().onSpawn = (command) => command.end(2)
    expect((await box.run(['job'])).exitCode).toBe(2)
    await expect(box.run(['job'], { check: true })).rejects.toMatchObject({ code: 'command-failed' })
  })
})

test('secrets: given to each process, never to the provider, and in no error, JSON or inspection', async () => {
  const SECRET = 'planted-s3cret-value'
  const { provider, context, open, place } = world()
  const box = await open({ secrets: { TOKEN: SECRET }, env: { A: '1' } })
  const seen: string[] = [
    inspect(provider.requests, { depth: 9 }),
    inspect(box, { depth: 9, showHidden: true }),
    JSON.stringify(box),
  ]
  await box.run(['job'])
  await (await box.spawn(['job'], { env: { B: '2' } })).wait()
  expect([...place().commands.values()].map((command) => command.options.env?.['TOKEN'])).toEqual([SECRET, SECRET])
  place().onSpawn = (command) => {
    command.print(`leak ${SECRET}`, 'stderr')
    command.end(1)
  }
  const failures = [
    () => box.run(['job', SECRET], { check: true }),
    () => box.attach(SECRET),
    () => openSandbox(context, { secrets: { A: `${SECRET}\0`, 'B=': SECRET } }),
    () =>
      openSandbox(
        { ...context, openSession: () => Promise.reject(new Error(`raw ${SECRET}`)) },
        { secrets: { A: SECRET } },
      ),
    () => attachSandbox(context, SECRET, { secrets: { A: SECRET } }),
  ]
  for (const failure of failures) {
    const error = await failure().then(
      () => expect.unreachable(),
      (reason: unknown) => reason,
    )
    seen.push(inspect(error, { depth: 9 }), JSON.stringify(error), String((error as Error).stack))
  }
  for (const text of seen) expect(text).not.toContain(SECRET)
})

test('idleTimeoutMs is refused by name where the session cannot keep it, and nothing is left', async () => {
  const { provider, context } = world()
  const openSession = async (...[host]: Parameters<typeof openFakeSession>) => {
    const session = await openFakeSession(host)
    const info = await session.info()
    session.info = async () => ({ ...info, powers: { ...info.powers, idleTimeout: false } })
    return session
  }
  await expect(openSandbox({ ...context, openSession }, { idleTimeoutMs: 60_000 })).rejects.toMatchObject({
    code: 'unsupported',
    field: 'idleTimeoutMs',
    hint: expect.stringContaining('Python'),
  })
  expect(provider.places.size).toBe(0)
  await using box = await openSandbox({ ...context, openSession })
  expect(box.workdir).toBe('/workspace')
})
