import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addPins, readPins, removePins } from './host-pins.ts'
import { linesOf, lookupName, parseKnownHosts } from './known-hosts.ts'

let directory = ''
const lines: Record<string, string> = {}
const fingerprints: Record<string, string> = {}

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'anyplace-known-'))
  for (const name of ['a', 'b', 'c']) {
    const path = join(directory, name)
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path])
    lines[name] = readFileSync(`${path}.pub`, 'utf8').trim()
    fingerprints[name] = execFileSync('ssh-keygen', ['-lf', path], { encoding: 'utf8' }).split(' ')[1] ?? ''
  }
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** What `ssh-keygen -F` finds: fingerprints, in order. */
function asOpenSsh(path: string, name: string): string[] {
  try {
    const out = execFileSync('ssh-keygen', ['-l', '-F', name, '-f', path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return [...out.matchAll(/SHA256:\S+/g)].map(([found]) => found)
  } catch {
    return []
  }
}

function found(path: string, name: string): string[] {
  return linesOf(parseKnownHosts(readFileSync(path, 'utf8')), name).map(({ fingerprint }) => fingerprint)
}

const NAMES = [
  'plain.example',
  'PLAIN.example',
  '[plain.example]:2222',
  'x.wild.example',
  'bad.wild.example',
  '10.0.0.7',
  '10.0.0.77',
  'other',
  'h.example',
  '[h.example]:2222',
]

function write(): string {
  const path = join(directory, 'known_hosts')
  const text = [
    '# a comment',
    '',
    `plain.example,10.0.0.? ${lines['a']}`,
    `[plain.example]:2222 ${lines['b']}`,
    `*.wild.example,!bad.wild.example ${lines['b']} a comment`,
    `other ${lines['c']?.slice(0, -9)}`,
    'other ssh-rsa not-base64!',
    'other',
    `h.example ${lines['c']}`,
    `[h.example]:2222 ${lines['a']}`,
  ]
  writeFileSync(path, `${text.join('\n')}\n`)
  return path
}

test('plain, wildcard, negated and port names are found as ssh-keygen -F finds them', () => {
  const path = write()
  for (const name of NAMES.filter((one) => one !== 'other')) {
    expect([name, found(path, name)]).toEqual([name, asOpenSsh(path, name.toLowerCase())])
  }
  expect(found(path, 'plain.example')).toEqual([fingerprints['a']])
  expect(found(path, '10.0.0.7')).toEqual([fingerprints['a']])
  expect(found(path, 'bad.wild.example')).toEqual([])
})

test('names hashed by ssh-keygen -H are found', () => {
  const path = join(directory, 'hashed')
  writeFileSync(path, `h.example ${lines['c']}\n[h.example]:2222 ${lines['a']}\n`)
  execFileSync('ssh-keygen', ['-q', '-H', '-f', path], { stdio: 'ignore' })
  expect(readFileSync(path, 'utf8')).not.toContain('h.example')
  expect(found(path, 'h.example')).toEqual([fingerprints['c']])
  expect(found(path, '[H.example]:2222')).toEqual([fingerprints['a']])
  expect(found(path, 'g.example')).toEqual([])
})

test('markers are told; an unknown one is no line', () => {
  const known = parseKnownHosts(
    `@revoked * ${lines['a']}\n@cert-authority *.example ${lines['b']}\n@other x ${lines['c']}\n@revoked ${lines['a']}`,
  )
  expect(known.map(({ marker, hosts, fingerprint }) => [marker, hosts, fingerprint])).toEqual([
    ['revoked', '*', fingerprints['a']],
    ['cert-authority', '*.example', fingerprints['b']],
  ])
})

test('no line takes long or throws', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string(), fc.constantFrom(' ', '*', '|1|', '@revoked', 'ssh-ed25519', ',', '!'))),
      (parts) => {
        const text = `${parts.join('')} ${lines['a']}`
        expect(Array.isArray(linesOf(parseKnownHosts(text), 'host'))).toBe(true)
      },
    ),
  )
  const pattern = `${'*a'.repeat(2000)}b`
  expect(linesOf(parseKnownHosts(`${pattern} ${lines['a']}`), 'a'.repeat(3000))).toEqual([])
})

test('pins: added once, private, found by OpenSSH, removed without the others', () => {
  const path = join(directory, 'state', 'known_hosts')
  const keys = ['a', 'b'].map((name) => parseKnownHosts(`x ${lines[name]}`)[0]!)
  const name = lookupName('Host.example', 2222)
  expect(readPins(path)).toEqual([])
  addPins(path, name, keys.slice(0, 1))
  addPins(path, name, keys)
  addPins(path, lookupName('other.example', 22), keys.slice(1))
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(asOpenSsh(path, '[host.example]:2222')).toEqual([fingerprints['a'], fingerprints['b']])
  expect(readFileSync(path, 'utf8').trim().split('\n')).toHaveLength(3)
  expect(removePins(path, name)).toHaveLength(2)
  expect(removePins(path, name)).toEqual([])
  expect(readPins(path).map(({ hosts }) => hosts)).toEqual(['other.example'])
  expect(statSync(path).mode & 0o777).toBe(0o600)
})
