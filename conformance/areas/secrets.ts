import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { failsWith } from '../expectations.ts'
import type { TestedSandbox } from '../target.ts'
import { verifies } from '../verifies.ts'

const values = (marker: () => string): { readonly TOKEN: string; readonly OTHER: string } => ({
  TOKEN: `tok-${marker()}`,
  OTHER: `with "quotes" and\nlines ${marker()}`,
})

verifies('secrets:reach-commands', async ({ open, target, marker }) => {
  const secrets = values(marker)
  const box = await open({ secrets, name: marker() })
  assert.equal((await box.shell('printf %s "$TOKEN|$OTHER"')).stdout, `${secrets.TOKEN}|${secrets.OTHER}`)
  // they are the client's: another one without them gives none to its commands
  const second = await target.api.attach(box.name, { on: target.on })
  assert.equal((await second.shell('printf %s "${TOKEN-none}"')).stdout, 'none')
  await second.detach()
})

verifies('secrets:not-recorded', async ({ open, target, marker }) => {
  const secrets = values(marker)
  const box = await open({ secrets })
  const process = await box.spawn(['sh', '-c', 'sleep 60; : "$TOKEN"'])
  await box.run(['true'])
  const records = await target.records(box.id)
  assert.ok(records.includes(box.id), 'records() does not know the sandbox')
  const texts = [
    records,
    JSON.stringify(await box.info()),
    JSON.stringify(await box.processes()),
    await listText(target.api.list({ on: target.on })),
  ]
  for (const text of texts)
    for (const value of [secrets.TOKEN, secrets.OTHER.slice(-20)])
      assert.ok(!text.includes(value), 'a secret is recorded')
  await process.kill()
})

async function listText(items: AsyncIterable<unknown>): Promise<string> {
  let text = ''
  for await (const item of items) text += JSON.stringify(item)
  return text
}

verifies('secrets:not-in-errors', async ({ open, options, target, marker }) => {
  const secrets = values(marker)
  const box = await open({ secrets })
  const failures = [
    await failsWith(box.run(['true'], { cwd: 'nowhere' }), 'file-not-found', 'not-a-directory'),
    await failsWith(box.run(['true'], { user: 'nobody-at-all' }), 'invalid-argument', 'not-found', 'unsupported'),
    await failsWith(box.shell('exit 3', { check: true }), 'command-failed'),
    await failsWith(target.api.open(options({ secrets: { 'A=B': secrets.TOKEN } })), 'invalid-argument'),
    await failsWith(target.api.open(options({ secrets: { A: `${secrets.TOKEN}\0` } })), 'invalid-argument'),
    await failsWith(target.api.open(options({ secrets, name: '-wrong' })), 'invalid-argument'),
  ]
  for (const failure of failures) {
    const text = `${failure.message} ${failure.hint ?? ''} ${JSON.stringify(failure)} ${failure.stack ?? ''} ${inspect(failure.cause)}`
    assert.ok(!text.includes(secrets.TOKEN), `a secret is in: ${failure.code}`)
  }
})

async function holders(box: TestedSandbox, word: string, file: string): Promise<readonly string[]> {
  const { stdout } = await box.run(['sh', '-c', `grep -l -s -a -F -f - /proc/[0-9]*/${file}; true`], {
    input: `${word}\n`,
    env: { TOKEN: 'none', OTHER: 'none' },
  })
  return stdout.split('\n').filter((line) => line !== '')
}

verifies('secrets:not-in-daemon', async ({ open, marker }) => {
  const secrets = values(marker)
  const box = await open({ secrets })
  const process = await box.spawn(['sleep', '60'])
  assert.deepEqual(await holders(box, secrets.TOKEN, 'environ'), [`/proc/${process.pid}/environ`])
  assert.deepEqual(await holders(box, secrets.TOKEN, 'cmdline'), [])
  await process.kill()
  assert.deepEqual(await holders(box, secrets.TOKEN, 'environ'), [])
})
