import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Machine } from '../../spec/index.ts'
import { connectEngine } from './connection.ts'
import { findSockets } from './find-sockets.ts'

/** A machine of which only the environment and some files are known, and on which nothing listens. */
function machineWith(engineEnv: Record<string, string>, files: Record<string, unknown> = {}): Machine {
  return {
    label: 'test box',
    isLocal: true,
    facts: async () =>
      ({ engineEnv, homeDirectory: '/home/me', uid: 1000 }) as unknown as Awaited<ReturnType<Machine['facts']>>,
    readFile: async (path: string) => (path in files ? Buffer.from(JSON.stringify(files[path])) : undefined),
    connect: async (path: string) => {
      throw Object.assign(new Error(`connect ${path}`), { code: path.includes('denied') ? 'EACCES' : 'ENOENT' })
    },
  } as unknown as Machine
}

const CONFIG = '/home/me/.docker/config.json'
const META = `/home/me/.docker/contexts/meta/${createHash('sha256').update('colima').digest('hex')}/meta.json`
const COLIMA = { Endpoints: { docker: { Host: 'unix:///home/me/.colima/x.sock' } } }

test('DOCKER_HOST stands alone, before the context', async () => {
  const machine = machineWith({ DOCKER_HOST: 'unix:///a/d.sock', DOCKER_CONTEXT: 'colima' }, { [META]: COLIMA })
  expect(await findSockets(machine, 'docker')).toEqual([{ path: '/a/d.sock', source: 'DOCKER_HOST' }])
})

test('the current context, from the file or the variable', async () => {
  const fromFile = machineWith({}, { [CONFIG]: { currentContext: 'colima' }, [META]: COLIMA })
  const fromVariable = machineWith({ DOCKER_CONTEXT: 'colima' }, { [META]: COLIMA })
  const expected = [{ path: '/home/me/.colima/x.sock', source: 'context "colima"' }]
  expect(await findSockets(fromFile, 'docker')).toEqual(expected)
  expect(await findSockets(fromVariable, 'docker')).toEqual(expected)
})

test('a context that is not there is told, not passed over', async () => {
  await expect(findSockets(machineWith({ DOCKER_CONTEXT: 'gone' }), 'docker')).rejects.toMatchObject({
    code: 'invalid-argument',
    message: expect.stringContaining('"gone"') as string,
  })
})

test('else the usual sockets', async () => {
  const machine = machineWith({ XDG_RUNTIME_DIR: '/run/user/7' }, { [CONFIG]: { currentContext: 'default' } })
  const paths = (await findSockets(machine, 'docker')).map(({ path }) => path)
  expect(paths[0]).toBe('/var/run/docker.sock')
  expect(paths).toContain('/home/me/.docker/run/docker.sock')
  expect(paths).toContain('/home/me/.colima/default/docker.sock')
  expect(paths).toContain('/run/user/7/docker.sock')
})

test('podman: CONTAINER_HOST stands alone, else rootless before rootful', async () => {
  const named = machineWith({ CONTAINER_HOST: 'unix:///p.sock', DOCKER_HOST: 'unix:///d.sock' })
  expect(await findSockets(named, 'podman')).toEqual([{ path: '/p.sock', source: 'CONTAINER_HOST' }])
  const paths = (await findSockets(machineWith({ DOCKER_HOST: 'unix:///d.sock' }), 'podman')).map(({ path }) => path)
  expect(paths.slice(0, 3)).toEqual(['/d.sock', '/run/user/1000/podman/podman.sock', '/run/podman/podman.sock'])
})

test.each([
  ['tcp://10.0.0.1:2375', 'unix://'],
  ['ssh://me:hunter2@box', 'SSH node'],
  ['unix://relative.sock', 'unix://'],
])('%s is refused with a hint and without its password', async (host, hint) => {
  const refused = findSockets(machineWith({ DOCKER_HOST: host }), 'docker')
  await expect(refused).rejects.toMatchObject({ code: 'unsupported', hint: expect.stringContaining(hint) as string })
  await expect(refused).rejects.not.toThrow('hunter2')
})

test('no engine: every socket with its reason', async () => {
  await expect(connectEngine(machineWith({ XDG_RUNTIME_DIR: '/run/denied' }), 'docker')).rejects.toMatchObject({
    code: 'engine-unavailable',
    message: expect.stringMatching(
      /test box.*\/var\/run\/docker\.sock: no such socket;.*\/run\/denied\/docker\.sock: permission denied\./,
    ) as string,
    hint: expect.stringContaining('group "docker"') as string,
  })
})
