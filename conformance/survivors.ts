import { eventually } from './expectations.ts'
import type { TestedSandbox } from './target.ts'

/**
 * How many processes with this word in their argv the sandbox sees. The word goes over stdin, so that the search does not
 * find itself.
 */
export async function survivors(box: TestedSandbox, marker: string): Promise<number> {
  const { stdout } = await box.run(['sh', '-c', 'grep -l -s -a -F -f - /proc/[0-9]*/cmdline; true'], {
    input: `${marker}\n`,
  })
  return stdout.split('\n').filter((line) => line !== '').length
}

/** Waits until at least `count` such processes run. */
export async function untilRunning(box: TestedSandbox, marker: string, count: number): Promise<void> {
  await eventually(`${count} processes of the fixture run`, async () => (await survivors(box, marker)) >= count)
}
