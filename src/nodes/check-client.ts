import type { Finding } from '../spec/index.ts'

/** What doctor says of this client itself. */
export function checkClient(): readonly Finding[] {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const isNewEnough = major > 20 || (major === 20 && minor >= 19)
  const message = `Node.js ${process.versions.node}`
  return [
    isNewEnough
      ? { subject: 'node', status: 'ok', message }
      : { subject: 'node', status: 'unavailable', message, hint: 'install Node.js 20.19 or newer' },
  ]
}
