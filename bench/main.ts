import type { Report } from './measure.ts'

const BENCHES: Readonly<Record<string, () => Promise<Report>>> = {
  exec: async () => (await import('./exec.ts')).benchExec(),
  files: async () => (await import('./files.ts')).benchFiles(),
  create: async () => (await import('./create.ts')).benchCreate(),
  stream: async () => (await import('./stream.ts')).benchStream(),
  memory: async () => (await import('./memory.ts')).benchMemory(),
  openmodal: async () => (await import('./openmodal.ts')).benchOpenModal(),
  ssh: async () => (await import('./ssh.ts')).benchSsh(),
  pool: async () => (await import('./pool.ts')).benchPool(),
}

const names = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const unknown = names.filter((name) => !(name in BENCHES))
if (names.length === 0 || unknown.length > 0) {
  const wrong = unknown.length > 0 ? `No such bench: ${unknown.join(', ')}. ` : ''
  process.stderr.write(`${wrong}Usage: npm run bench -- <name…> [--json]; names: ${Object.keys(BENCHES).join(', ')}\n`)
  process.exit(2)
}
for (const name of names) {
  const report = await BENCHES[name]?.()
  if (report === undefined) continue
  process.stdout.write(process.argv.includes('--json') ? `${JSON.stringify(report)}\n` : render(report))
}
process.exit(0) // testcontainers leaves handles open

function render(report: Report): string {
  const number = (value: number | undefined): string => (value === undefined ? '' : String(value))
  const lines = [
    `## ${report.bench}`,
    '',
    report.machine,
    '',
    '| what | p50 ms | p95 ms | per second | MB/s | |',
    '|---|---|---|---|---|---|',
  ]
  for (const row of report.rows) {
    lines.push(
      `| ${row.name} | ${number(row.p50Ms)} | ${number(row.p95Ms)} | ${number(row.opsPerSecond)} | ${number(row.mbPerSecond)} | ${row.note ?? ''} |`,
    )
  }
  lines.push(
    '',
    '| ratio | |',
    '|---|---|',
    ...Object.entries(report.ratios).map(([key, value]) => `| \`${key}\` | ${value} |`),
    '',
    '',
  )
  return lines.join('\n')
}
