import { parseGpus } from './parse-gpus.ts'
import { parsePrograms, parseRuntimes } from './parse-programs.ts'
import { parseCpu, parseDisk, parseMemory, parseOs } from './parse-system.ts'
import type { ProbeReport } from './probe-report.ts'
import { splitSections } from './sections.ts'
import type { Section } from './sections.ts'

/** What was measured beside the text. */
export interface ProbeTimes {
  readonly roundTripMs: number
  readonly durationMs: number
}

/**
 * What a machine printed, as a typed report. Believes nothing and never fails: what is missing, damaged or hostile is an
 * unknown in the report and, where a person would want to know, a line in `problems`.
 */
export function parseProbe(node: string, output: string, mark: string, times: ProbeTimes): ProbeReport {
  const sections = splitSections(output, mark)
  const first = (name: string): Section | undefined => sections.get(name)?.[0]
  const text = (name: string): string => first(name)?.text ?? ''
  const programs = parsePrograms(text('pythons'), text('versions'))
  const graphics = parseGpus({
    nvidia: first('nvidia'),
    nvidiaList: first('nvidia-list'),
    nvidiaDriver: first('nvidia-driver'),
    toolkits: first('toolkits'),
    displays: first('displays'),
    pci: sections.get('pci') ?? [],
  })
  return {
    node,
    os: parseOs(text('system'), text('release'), text('macos')),
    cpu: parseCpu(text('cpu'), text('model'), text('cores'), text('limits')),
    memory: parseMemory(text('memory'), text('limits')),
    disk: parseDisk(text('disk')),
    gpus: graphics.gpus,
    cudaToolkits: graphics.cudaToolkits,
    runtimes: [...parseRuntimes(first('docker'), first('podman')), ...programs.runtimes],
    pythons: programs.pythons,
    nodes: programs.nodes,
    sshVersion: programs.sshVersion,
    rsyncVersion: programs.rsyncVersion,
    ...times,
    problems: [...graphics.problems, ...general(sections)],
  }
}

function general(sections: ReadonlyMap<string, readonly Section[]>): string[] {
  const problems: string[] = []
  for (const [name, what] of [
    ['disk', 'the disk of the workspace'],
    ['pythons', 'the Python interpreters'],
    ['versions', 'the installed programs'],
  ] as const) {
    if (sections.get(name)?.some(({ code }) => code === 'timeout')) problems.push(`asking for ${what} took too long`)
  }
  if (!sections.has('end')) problems.push('the answer is incomplete: its end never came')
  return problems
}
