// The examples of docs/ssh.md. They need a host: see test/integration/ssh-example.test.ts for how they are run.
import { AnyplaceError, addNode, copyKey, generateKey, listNodes, open, testNode, trustHost } from 'anyplace'

const {
  EXAMPLE_HOST: host = 'gpu.example.com',
  EXAMPLE_PORT: port = '22',
  EXAMPLE_USER: username = 'ann',
  EXAMPLE_FINGERPRINT: fingerprint = 'SHA256:…',
  EXAMPLE_OLD_KEY: identityFile = '/home/ann/.ssh/id_ed25519',
} = process.env

// #region setup
const key = await generateKey('work') // the private half goes into the vault
console.log(key.publicKey, key.fingerprint)

await addNode('gpu-box', { type: 'ssh', host, port: Number(port), username, key: 'work' })
await trustHost('gpu-box', { fingerprint }) // as the owner of the host told it
await copyKey('work', 'gpu-box', { identityFile }) // once; { password } works as well

const { state, steps } = await testNode('gpu-box')
for (const { step, status, message } of steps) console.log(step, status, message)
// #endregion

console.log(state)

// #region run
await using box = await open({ on: 'gpu-box/direct' })
const { stdout } = await box.run(['uname', '-s'])
console.log(stdout.trim())
// #endregion

// #region refused
try {
  await trustHost('gpu-box', { fingerprint: `SHA256:${'A'.repeat(43)}` })
} catch (error) {
  if (AnyplaceError.is(error, 'permission-denied')) console.log(error.data?.['cause']) // host-key-mismatch
}
// #endregion

// #region nodes
for (const { name, isDefault, health } of await listNodes()) console.log(name, isDefault, health?.state)
// #endregion
