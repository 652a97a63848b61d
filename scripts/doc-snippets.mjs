// Fills the fenced blocks of the docs that name a source (```ts source="examples/x.ts#region") from that file.
//   node scripts/doc-snippets.mjs          writes      node scripts/doc-snippets.mjs --check   fails when one differs
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'

const root = fileURLToPath(new URL('..', import.meta.url))
const pages = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)]
const stale = []
let seen = 0
for (const page of pages.filter((name) => name.endsWith('.md'))) {
  const text = readFileSync(join(root, page), 'utf8')
  const filled = text.replace(/^```ts source="([^"#]+)(?:#([\w-]+))?"\n[\s\S]*?^```$/gm, (_, file, region) => {
    seen++
    return `\`\`\`ts source="${file}${region ? `#${region}` : ''}"\n${snippet(file, region)}\n\`\`\``
  })
  if (filled === text) continue
  stale.push(page)
  if (!process.argv.includes('--check')) writeFileSync(join(root, page), filled)
}
console.log(`${seen} snippets in ${pages.length} pages`)
if (process.argv.includes('--check') && (stale.length > 0 || seen === 0)) {
  console.error(`out of date: ${stale.join(', ') || 'no snippet was found'}; run node scripts/doc-snippets.mjs`)
  process.exit(1)
}

function snippet(file, region) {
  const text = readFileSync(join(root, file), 'utf8')
  if (region === undefined) return text.trim()
  const match = new RegExp(`^// #region ${region}\\n([\\s\\S]*?)^// #endregion`, 'm').exec(text)
  if (match === null) throw new Error(`${file} has no region ${region}`)
  return match[1].trim()
}
