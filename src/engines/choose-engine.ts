import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Engine, Finding, MachineFacts } from '../spec/index.ts'

/** Which engine opens a sandbox, and why. */
export interface EngineChoice {
  readonly engine: Engine
  readonly reason: string
}

/** What is asked for by hand, and how a node's engine is named. */
export interface ChoiceOptions extends CallOptions {
  /** For hints: `local`, a node's name. @default 'local' */
  readonly on?: string | undefined
}

/** Outside a container; `direct` is never among them, because it isolates nothing. */
const ORDER = ['docker', 'podman', 'namespace']

/**
 * The engine that was asked for; inside a container `direct`; else the first of docker, podman and namespace that works.
 *
 * @throws AnyplaceError `invalid-argument` for an unknown engine; `engine-unavailable` that names each one with its reason
 */
export async function chooseEngine(
  engines: readonly Engine[],
  facts: MachineFacts,
  wanted: string | undefined,
  options: ChoiceOptions = {},
): Promise<EngineChoice> {
  if (wanted !== undefined) {
    const engine = engines.find((candidate) => candidate.name === wanted)
    if (engine !== undefined) return { engine, reason: 'it was asked for' }
    throw new AnyplaceError('invalid-argument', `There is no engine ${JSON.stringify(wanted)}.`, {
      field: 'engine',
      hint: `engines are ${engines.map((candidate) => candidate.name).join(', ')}`,
    })
  }
  const direct = engines.find((candidate) => candidate.name === 'direct')
  if (facts.containerSigns.length > 0 && direct !== undefined)
    return { engine: direct, reason: `this is the inside of a container: ${facts.containerSigns.join('; ')}` }
  const passed: Finding[] = []
  for (const name of ORDER) {
    const engine = engines.find((candidate) => candidate.name === name)
    const finding = await engine?.check(options)
    if (engine === undefined || finding === undefined) continue
    // With a warning it works, short of something that open refuses by name when it is asked for.
    if (finding.status !== 'unavailable') return { engine, reason: firstReason(passed) }
    passed.push(finding)
  }
  throw new AnyplaceError(
    'engine-unavailable',
    `No engine works on this machine. ${passed.map((finding) => `${finding.subject}: ${finding.message}`).join('. ')}.`,
    {
      hint: [
        ...passed.flatMap((finding) => (finding.hint ? [`${finding.subject}: ${finding.hint}`] : [])),
        `or run without isolation: on: "${options.on ?? 'local'}/direct"`,
      ].join('; '),
    },
  )
}

function firstReason(passed: readonly Finding[]): string {
  if (passed.length === 0) return 'it is the first that works'
  return `it is the first that works, after ${passed.map((finding) => finding.subject).join(' and ')}`
}
