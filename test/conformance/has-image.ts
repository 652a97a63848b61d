import Docker from 'dockerode'
import type { Reach } from '../../conformance/index.ts'

/** Whether Docker has an image that no registry offers. */
export async function hasImage(image: string): Promise<Reach> {
  const socketPath = process.env['DOCKER_HOST']?.replace('unix://', '') ?? '/var/run/docker.sock'
  const found = await new Docker({ socketPath })
    .getImage(image)
    .inspect()
    .then(
      () => true,
      () => false,
    )
  if (found) return { reached: true }
  return {
    reached: false,
    why: `Docker has no image ${image}`,
    howToEnable: 'make it with test/lab/images-without-python',
  }
}
