import { readFile } from 'node:fs/promises'
import type { TestedSandbox } from './target.ts'

/** A script of `fixtures/` put into the sandbox; gives its absolute path there. */
export async function putFixture(
  box: TestedSandbox,
  name: 'hog.sh' | 'hopper.sh' | 'storm.sh' | 'tree.sh',
): Promise<string> {
  const path = `.fixtures/${name}`
  if (!(await box.files.exists(path))) {
    await box.files.write(path, await readFile(new URL(`./fixtures/${name}`, import.meta.url)), { mode: 0o755 })
  }
  return `${box.workdir}/${path}`
}
