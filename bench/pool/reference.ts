import { IMAGE, runHost } from '../baselines.ts'

/**
 * What the reference does, over `docker exec`: containers with a directory for each slot, and for each command one exec of
 * `bash -c "cd SLOT && COMMAND"`. Its calls block one another in truth; here they run side by side, as it meant to.
 */
export class ReferencePool {
  readonly #containers: readonly string[]
  readonly #slotsEach: number

  private constructor(containers: readonly string[], slotsEach: number) {
    this.#containers = containers
    this.#slotsEach = slotsEach
  }

  static async start(sandboxes: number, slotsEach: number): Promise<ReferencePool> {
    const containers = Array.from({ length: sandboxes }, (_, index) => `bench-reference-${process.pid}-${index}`)
    for (const name of containers) {
      await runHost(['docker', 'run', '-d', '--network', 'none', '--name', name, IMAGE, 'sleep', '3600'])
      const directories = Array.from({ length: slotsEach }, (_, slot) => `/data/slot_${slot}`)
      await runHost(['docker', 'exec', name, 'mkdir', '-p', ...directories])
    }
    return new ReferencePool(containers, slotsEach)
  }

  /** Commands per second when that many are given at once, spread over all slots. */
  async rate(command: string, count: number): Promise<number> {
    const started = performance.now()
    await Promise.all(Array.from({ length: count }, (_, index) => this.#execute(index, command)))
    return (count / (performance.now() - started)) * 1000
  }

  async stop(): Promise<void> {
    for (const name of this.#containers) await runHost(['docker', 'rm', '-f', name])
  }

  async #execute(index: number, command: string): Promise<void> {
    const container = this.#containers[index % this.#containers.length] ?? ''
    const slot = Math.floor(index / this.#containers.length) % this.#slotsEach
    await runHost(['docker', 'exec', container, 'bash', '-c', `cd /data/slot_${slot} && ${command}`])
  }
}

/** Commands per second with a fresh container for each, as many at once as there are cores. */
export async function containerPerCommandRate(command: string, count: number, width: number): Promise<number> {
  let left = count
  const started = performance.now()
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (left-- > 0) await runHost(['docker', 'run', '--rm', '--network', 'none', IMAGE, 'bash', '-c', command])
    }),
  )
  return (count / (performance.now() - started)) * 1000
}
