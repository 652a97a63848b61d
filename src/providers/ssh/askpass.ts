import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { quoteArgv } from '../../kit/quote.ts'
import { runtimeDirectory } from './runtime-directory.ts'
import { ASKPASS_PREFIX } from './runtime-leftovers.ts'

/** Whose password it is. A hop on the way may ask as well, and must not get it. */
export interface PasswordLogin {
  readonly username: string
  readonly hostname: string
}

/** Tells ssh one password, once. */
export interface Askpass extends AsyncDisposable {
  /** For the environment of ssh: where to ask, no secret. */
  readonly env: Readonly<Record<string, string>>
  /** True once the password was handed over. */
  readonly wasAsked: () => boolean
}

const MAX_PROMPT_BYTES = 4096
/** Says its prompt to the socket and prints the answer; fails when there is none, so that ssh does not take '' for one. */
const HELPER = [
  'const [socket, prompt] = process.argv.slice(1)',
  "let answer = ''",
  "const link = require('net').connect(socket, () => link.end(prompt))",
  "link.setEncoding('utf8').on('data', (text) => (answer += text))",
  "link.on('error', () => process.exit(1))",
  "link.on('close', () => (answer ? process.stdout.write(answer + '\\n') : process.exit(1)))",
].join('\n')

/**
 * Serves a password to an ssh that we start. ssh runs a small program of ours for it, which asks back over a socket in a
 * directory that only this user can enter: the password is in no argument, no environment and no file. It answers one
 * question for the password of that user on that host, and nothing else that ssh may want to know.
 */
export async function serveAskpass(password: string, login: PasswordLogin): Promise<Askpass> {
  // As ssh writes it in front of its question.
  const who = `${login.username.slice(0, 30)}@${login.hostname.slice(0, 128)}`.toLowerCase()
  const directory = mkdtempSync(join(await runtimeDirectory(), ASKPASS_PREFIX))
  const socketPath = join(directory, 's')
  const program = join(directory, 'askpass')
  let isSpent = false
  const clients = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    clients.add(socket)
    socket.on('close', () => clients.delete(socket))
    socket.on('error', () => undefined)
    let prompt = ''
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => {
      prompt += text
      if (prompt.length > MAX_PROMPT_BYTES) socket.destroy()
    })
    socket.on('end', () => {
      const question = prompt.toLowerCase()
      const isFor = question.startsWith(`${who}'s password`) || question.startsWith(`(${who}) `)
      const mayAnswer = !isSpent && isFor && question.includes('password')
      isSpent ||= mayAnswer
      socket.end(mayAnswer ? password : '')
    })
  })
  const close = async (): Promise<void> => {
    for (const socket of clients) socket.destroy()
    if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()))
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(socketPath, resolve)
    })
    chmodSync(socketPath, 0o600)
    const call = quoteArgv([process.execPath, '-e', HELPER, socketPath])
    writeFileSync(program, `#!/bin/sh\nexec ${call} "$1"\n`, { mode: 0o700, flag: 'wx' })
  } catch (error) {
    await close()
    throw error
  }
  server.unref()
  return {
    // DISPLAY is for clients before 8.4, which ask a program only where there is a screen.
    env: { SSH_ASKPASS: program, SSH_ASKPASS_REQUIRE: 'force', DISPLAY: process.env['DISPLAY'] ?? ':0' },
    wasAsked: () => isSpent,
    [Symbol.asyncDispose]: close,
  }
}
