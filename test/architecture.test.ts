import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

/** Rooms of src from the ground up. A file imports from its own room and from rooms of a lower rank, nothing else. */
const LAYERS: Readonly<Record<string, number>> = {
  spec: 0,
  kit: 1,
  execd: 2,
  store: 2.5,
  engines: 3,
  providers: 4,
  sandboxes: 5,
  images: 6,
  pools: 7,
  functions: 8,
  mlcube: 9,
  nodes: 10,
  tools: 11,
  'index.ts': 12,
  mcp: 13,
  server: 13,
  cli: 13,
}
/** What a room may see of the rooms below it; a room that is not here sees all of them. */
const SEES: Readonly<Record<string, readonly string[]>> = { store: ['spec', 'kit'] }
/** Libraries that one place owns. */
const OWNED: Readonly<Record<string, string>> = {
  dockerode: 'src/engines/docker/',
  commander: 'src/cli/',
  picocolors: 'src/cli/',
  '@libsql/client': 'src/store/',
}
const MACHINE_ONLY = /^(node:)?(child_process|net|fs|fs\/promises)$/

const IMPORT = /(?:^|[\s;])(?:import|export)\s[^'";()]*?\sfrom\s*'([^']+)'|^import\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm

function importsOf(source: string): string[] {
  return [...source.matchAll(IMPORT)].map((match) => (match[1] ?? match[2] ?? match[3])!)
}

/** Why this import is wrong; undefined when it is fine. */
function fault(file: string, specifier: string): string | undefined {
  const isTest = file.endsWith('.test.ts')
  const [, room = '', place = ''] = file.split('/')
  const arrow = `${file} imports ${specifier}`
  if (LAYERS[room] === undefined) return `${file} is in no room of LAYERS`
  if (!specifier.startsWith('.')) {
    if (room === 'engines' && !isTest && MACHINE_ONLY.test(specifier)) return `${arrow}: an engine uses a Machine only`
    const owner = Object.entries(OWNED).find(([name]) => specifier === name || specifier.startsWith(`${name}/`))?.[1]
    return owner === undefined || isTest || file.startsWith(owner) ? undefined : `${arrow}: that belongs to ${owner}`
  }
  if (!specifier.endsWith('.ts')) return `${arrow}: the name must end in .ts`
  const target = normalize(join(dirname(file), specifier))
  if (!target.startsWith('src/')) return isTest ? undefined : `${arrow}: that is outside src`
  const [, targetRoom = '', targetPlace = ''] = target.split('/')
  if (targetRoom === room) {
    const crosses = room === 'providers' && place !== targetPlace && !place.endsWith('.ts')
    return crosses ? `${arrow}: no provider sees another` : undefined
  }
  const rank = LAYERS[targetRoom]
  if (rank === undefined) return `${arrow}: ${targetRoom} is no room of LAYERS`
  if (rank >= LAYERS[room]) return `${arrow}: an arrow up or sideways`
  return SEES[room]?.includes(targetRoom) === false ? `${arrow}: ${room} sees ${SEES[room].join(', ')} only` : undefined
}

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => `src/${name}`)

test('imports point down', () => {
  const faults = files.flatMap((file) =>
    importsOf(readFileSync(file, 'utf8')).map((specifier) => fault(file, specifier)),
  )
  expect(faults.filter((one) => one !== undefined)).toEqual([])
})

test('no file was overlooked, and every import statement was understood', () => {
  const expected = listed()
  expect(files.length).toBeGreaterThanOrEqual(Math.max(1, expected.length))
  expect(expected.filter((file) => !files.includes(file))).toEqual([])
  for (const file of files) {
    const source = readFileSync(file, 'utf8')
    const statements = source.match(/^(?:import|export)\b.*\bfrom '|^\} from '|^import '/gm)?.length ?? 0
    expect(importsOf(source).length, file).toBeGreaterThanOrEqual(statements)
  }
})

test('planted faults are found', () => {
  const planted: [string, string, string | undefined][] = [
    ['src/kit/tar.ts', "import { a } from '../spec/index.ts'", undefined],
    ['src/spec/errors.ts', "import type { a } from '../kit/tar.ts'", 'up or sideways'],
    ['src/kit/tar.ts', "import {\n  a,\n  b,\n} from '../execd/frames.ts'", 'up or sideways'],
    ['src/kit/tar.ts', "export { a } from '../cli/main.ts'", 'up or sideways'],
    ['src/kit/tar.ts', "import '../store/store.ts'", 'up or sideways'],
    ['src/kit/tar.ts', "const a = await import('../nodes/open.ts')", 'up or sideways'],
    ['src/mcp/main.ts', "import { a } from '../cli/main.ts'", 'up or sideways'],
    ['src/store/store.ts', "import { a } from '../execd/frames.ts'", 'store sees'],
    ['src/providers/ssh/index.ts', "import { a } from '../local/index.ts'", 'no provider sees another'],
    ['src/engines/docker/engine.ts', "import { spawn } from 'node:child_process'", 'Machine only'],
    ['src/engines/docker/engine.ts', "import { readFile } from 'node:fs/promises'", 'Machine only'],
    ['src/sandboxes/sandbox.ts', "import Docker from 'dockerode'", 'belongs to'],
    ['src/kit/tar.ts', "import { a } from './quote.js'", 'end in .ts'],
    ['src/kit/tar.ts', "import { a } from '../../test/fixture.ts'", 'outside src'],
    ['src/attic/old.ts', "import { a } from '../kit/tar.ts'", 'no room'],
  ]
  for (const [file, source, expected] of planted) {
    const [specifier] = importsOf(source)
    const found = fault(file, specifier ?? 'nothing was found')
    if (expected === undefined) expect(found).toBeUndefined()
    else expect(found, source).toContain(expected)
  }
})

/** The files as something else lists them: git where it is, else find. */
function listed(): string[] {
  const run = (program: string, argv: readonly string[]): string[] =>
    execFileSync(program, argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .split('\n')
      .filter(Boolean)
  try {
    const gone = new Set(run('git', ['ls-files', '--deleted', '--', 'src/*.ts']))
    return run('git', ['ls-files', '--', 'src/*.ts']).filter((file) => !gone.has(file))
  } catch {
    return run('find', ['src', '-name', '*.ts'])
  }
}
