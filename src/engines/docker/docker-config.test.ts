import { expect, test } from 'vitest'
import type { Machine } from '../../spec/index.ts'
import { readDockerConfig, registryLogin } from './docker-config.ts'

function configOf(text: string): ReturnType<typeof readDockerConfig> {
  const machine = { readFile: async () => Buffer.from(text) } as unknown as Machine
  return readDockerConfig(machine, '/home/me')
}
const decode = (header: string | undefined): unknown => JSON.parse(Buffer.from(header ?? '', 'base64url').toString())
const auth = Buffer.from('me:pa:ss').toString('base64')

test('the login of a registry, and of no other', async () => {
  const config = await configOf(JSON.stringify({ auths: { 'ghcr.io': { auth } } }))
  expect(decode(registryLogin(config, 'ghcr.io').header)).toEqual({
    username: 'me',
    password: 'pa:ss',
    serveraddress: 'ghcr.io',
  })
  expect(registryLogin(config, 'docker.io')).toEqual({ header: undefined, helper: undefined })
})

test('Docker Hub is filed under its old address', async () => {
  const config = await configOf(JSON.stringify({ auths: { 'https://index.docker.io/v1/': { auth } } }))
  expect(decode(registryLogin(config, 'docker.io').header)).toMatchObject({ username: 'me' })
})

test('a token is sent instead of a password', async () => {
  const config = await configOf(JSON.stringify({ auths: { 'ghcr.io': { auth, identitytoken: 'tok' } } }))
  expect(decode(registryLogin(config, 'ghcr.io').header)).toEqual({ identitytoken: 'tok', serveraddress: 'ghcr.io' })
})

test('a helper is named, the one of the registry first', async () => {
  const config = await configOf(
    JSON.stringify({ auths: { 'ghcr.io': {} }, credsStore: 'desktop', credHelpers: { 'gcr.io': 'gcloud' } }),
  )
  expect(registryLogin(config, 'ghcr.io')).toEqual({ header: undefined, helper: 'desktop' })
  expect(registryLogin(config, 'gcr.io').helper).toBe('gcloud')
})

test.each(['', 'not json', '[]', '{"auths": 3, "credHelpers": null, "currentContext": 7}'])(
  '%j is an empty one',
  async (text) => {
    expect(await configOf(text)).toEqual({
      currentContext: undefined,
      auths: {},
      credHelpers: {},
      credsStore: undefined,
    })
  },
)
