import { execFile } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { serveAskpass } from './askpass.ts'

const run = promisify(execFile)
const PASSWORD = `hünter2 '"$(id)\\`

const ANN = { username: 'ann', hostname: 'Host.example' }

test('answers one question for a password, and nothing else', async () => {
  await using askpass = await serveAskpass(PASSWORD, ANN)
  const program = askpass.env['SSH_ASKPASS'] ?? ''
  for (const prompt of [
    'The authenticity of host cannot be established. Are you sure you want to continue connecting (yes/no)? ',
    "Enter passphrase for key '/home/ann/my password': ",
    'Verification code: ',
    '(ann@host.example) Verification code: ',
    "ann@bastion.example's password: ",
    "bob@host.example's password: ",
    "(bob@bastion) ann@host.example's password: ",
    'Password: ',
    '',
  ]) {
    await expect(run(program, [prompt])).rejects.toMatchObject({ stdout: '' })
  }
  expect(askpass.wasAsked()).toBe(false)
  expect((await run(program, ["ann@host.example's password: "])).stdout).toBe(`${PASSWORD}\n`)
  expect(askpass.wasAsked()).toBe(true)
  await expect(run(program, ["ann@host.example's password: "])).rejects.toMatchObject({ stdout: '' })
})

test('the password is in no file and no environment, and nothing stays', async () => {
  const askpass = await serveAskpass(PASSWORD, ANN)
  const program = askpass.env['SSH_ASKPASS'] ?? ''
  const directory = dirname(program)
  expect(statSync(directory).mode & 0o777).toBe(0o700)
  expect(readdirSync(directory)).toEqual(['askpass', 's'])
  for (const text of [readFileSync(program, 'utf8'), JSON.stringify(askpass.env)]) expect(text).not.toContain('nter2')
  expect(statSync(join(directory, 's')).mode & 0o777).toBe(0o600)
  await askpass[Symbol.asyncDispose]()
  expect(existsSync(directory)).toBe(false)
})

test('knows the question of a host that asks by itself', async () => {
  await using askpass = await serveAskpass(PASSWORD, ANN)
  const { stdout } = await run(askpass.env['SSH_ASKPASS'] ?? '', ['(ann@host.example) Password: '])
  expect(stdout).toBe(`${PASSWORD}\n`)
})
