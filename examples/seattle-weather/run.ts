// Opens a sandbox, analyses four years of weather in it and brings the results back. `npm start` runs this.
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AnyplaceError, open } from 'anyplace'

interface Summary {
  readonly meanC: number
  readonly hottest: { readonly date: string; readonly celsius: number }
  readonly coldest: { readonly date: string; readonly celsius: number }
  readonly rainMm: number
  readonly rainyDays: number
}
interface Results {
  readonly all: Summary
  readonly years: Readonly<Record<string, Summary>>
}

const HERE = dirname(fileURLToPath(import.meta.url))
const OUT = resolve('out/seattle-weather')
const DATA = 'seattle-weather.csv'

async function main(): Promise<void> {
  const on = process.env['ANYPLACE_ON'] || 'local/namespace'
  console.log(`\nOpening a sandbox on ${on}`)
  await using box = await open({
    on,
    timeoutMs: 300_000,
    network: false,
    onProgress: (text) => console.log(`  ${text}`),
  })
  const { isolation, killLevel } = await box.info()
  console.log(`  ${box.name}: isolation ${isolation}, no network, kills are ${killLevel}`)

  console.log('Uploading the data and the analysis')
  for (const file of [DATA, 'analyse.py']) await box.files.upload(join(HERE, file), file)

  console.log('Running the analysis in the sandbox')
  const job = await box.spawn(['python3', 'analyse.py', DATA, 'results'])
  for await (const { text } of job.lines()) console.log(`  | ${text}`)
  const { exitCode, durationMs } = await job.wait()
  if (exitCode !== 0) throw new AnyplaceError('command-failed', `The analysis exited with ${exitCode}.`)

  await mkdir(OUT, { recursive: true })
  const { files, bytes } = await box.files.download('results', OUT)
  console.log(
    `  done in ${Math.round(durationMs)} ms; downloaded ${files} files, ${bytes.toLocaleString('en')} bytes\n`,
  )

  printTable(JSON.parse(await readFile(join(OUT, 'results.json'), 'utf8')) as Results)
  console.log(`\nNumbers: ${relative('.', join(OUT, 'results.json'))}`)
  console.log(`Plot:    ${relative('.', join(OUT, 'plot.svg'))}  (open it in a browser)`)
}

function printTable({ years, all }: Results): void {
  const rows = Object.entries({ ...years, 'all years': all }).map(([name, year]) => [
    name,
    `${year.meanC.toFixed(1)} °C`,
    `${year.hottest.celsius.toFixed(1)} °C  ${year.hottest.date}`,
    `${year.coldest.celsius.toFixed(1)} °C  ${year.coldest.date}`,
    `${Math.round(year.rainMm).toLocaleString('en')} mm`,
    String(year.rainyDays),
  ])
  const table = [['', 'mean', 'hottest', 'coldest', 'rain', 'rainy days'], ...rows]
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? []
  console.log('Weather in Seattle (NOAA observations at Seattle-Tacoma airport)')
  for (const row of table) console.log(`  ${row.map((cell, column) => cell.padStart(widths[column] ?? 0)).join('   ')}`)
}

try {
  await main()
} catch (error) {
  if (!AnyplaceError.is(error)) throw error
  console.error(`\n${error.code}: ${error.message}`)
  if (error.hint) console.error(`  hint: ${error.hint}`)
  process.exitCode = 1
}
