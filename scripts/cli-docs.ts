// Writes docs/cli.md from the definitions of the verbs; with --check it only tells whether the file is up to date.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import process from 'node:process'
import { cliReference } from '../src/cli/reference.ts'
import { loadCommands } from '../src/cli/verbs.ts'

const file = new URL('../docs/cli.md', import.meta.url)
const text = cliReference(await loadCommands())
if (!process.argv.includes('--check')) {
  mkdirSync(new URL('.', file), { recursive: true })
  writeFileSync(file, text)
} else if (readFileSync(file, 'utf8') !== text) {
  process.stderr.write('docs/cli.md is not what the verbs say; run: npm run docs:cli\n')
  process.exit(1)
}
