import { spawn } from 'node:child_process'
import { Agent } from 'node:http'
import type Docker from 'dockerode'

/** Runs a program of this machine to its end; rejects on a non-zero exit. */
export function runHost(argv: readonly string[], options: { readonly uid?: number } = {}): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const [program = '', ...rest] = argv
    const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
    const chunks: Buffer[] = []
    let errors = ''
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0 ? resolve(Buffer.concat(chunks)) : reject(new Error(`${argv.join(' ')}: ${code} ${errors}`)),
    )
  })
}

/** dockerode as its users would set it up for many calls: one keep-alive agent. */
export async function connectDockerode(): Promise<Docker> {
  const { default: Dockerode } = await import('dockerode')
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock'
  return new Dockerode({
    socketPath: host.replace(/^unix:\/\//, ''),
    agent: new Agent({ keepAlive: true }),
  } as Docker.DockerOptions)
}

/** One exec through the Engine API, output read, exit code asked for: what a caller needs of it. */
export async function dockerodeExec(container: Docker.Container, argv: readonly string[]): Promise<number | null> {
  const exec = await container.exec({ Cmd: [...argv], AttachStdout: true, AttachStderr: true })
  const stream = await exec.start({ hijack: true, stdin: false })
  stream.resume()
  await new Promise((done) => stream.on('end', done))
  return (await exec.inspect()).ExitCode
}

export const IMAGE = 'python:3.12-slim'
