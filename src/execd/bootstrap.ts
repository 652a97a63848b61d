import { readFile } from 'node:fs/promises'
import { once } from 'node:events'
import { abortError, firstOf } from '../kit/deadline.ts'
import { AnyplaceError } from '../spec/index.ts'
import type { CallOptions, Channel } from '../spec/index.ts'
import { compiledFor, keepCompiled, readCompiled } from './compiled.ts'

/** What the daemon of one sandbox is told when it starts. Sent on stdin, never in argv or the environment. */
export interface DaemonConfig {
  readonly sandboxId: string
  /**
   * Absolute path as the connector sees it: holds the socket, the lock, the log and the pid files (`supervisor.pid`,
   * `execd.pid`: pid and start time). Made 0700. With `wrap` it need not be visible inside.
   */
  readonly runDirectory: string
  /** Absolute, as the daemon sees it. Made when missing, and then owned by the user. */
  readonly workdir: string
  /** `uid`, `uid:gid`, `name` …; undefined: the daemon's own user. */
  readonly user?: string | undefined
  /** The base environment of commands. */
  readonly env: Readonly<Record<string, string>>
  /** HOME of the user's commands; made when missing, and then owned by the user. @default the user's own, else one in /tmp */
  readonly home?: string | undefined
  /** Also take the environment that the platform started the daemon with (a container image's ENV). */
  readonly inheritEnv: boolean
  readonly expiresAtMs: number
  readonly maxExpiresAtMs: number
  readonly idleTimeoutMs?: number | undefined
  readonly journalBytes: number
  /** Absolute directory on a disk, as the daemon sees it, where journals beyond 1 MiB spill. Undefined: they stay in memory. */
  readonly journalDirectory?: string | undefined
  /** `external`: pid 1 of the place is already our supervisor (containers). `self`: the connector starts one. */
  readonly supervisor: 'external' | 'self'
  /** True when ending pid 1 ends every process (own pid namespace). */
  readonly ownPidNamespace: boolean
  /**
   * The daemon serves a whole machine and not one sandbox: what its commands leave behind is on its own and outlives the
   * daemon, and commands are not marked as the first to be killed when memory runs out.
   */
  readonly servesMachine?: boolean | undefined
  /** Uids that the place holds for slots and no other place of the machine has, as seen inside. */
  readonly slotUids?: { readonly first: number; readonly count: number } | undefined
  /** The place was made so that slots can have namespaces of their own; the daemon looks whether that is so. */
  readonly slotNamespaces?: boolean | undefined
  /** argv that our own supervisor becomes once it has ended everything, to remove what the place leaves behind. */
  readonly atEnd?: readonly string[] | undefined
}

/** What every daemon needs before its first command. */
const STARTED_WITH = [
  'connector',
  'begin',
  'supervisor',
  'daemon',
  'arrivals',
  'loop',
  'wire',
  'journal',
  'streams',
  'processes',
  'keepers',
  'starting',
  'trees',
  'users',
  'slot_powers',
] as const

const MODULES = [
  ...STARTED_WITH,
  'file_jobs',
  'files',
  'archive',
  'slots',
  'slot_jobs',
  'slot_scan',
  'slot_kill',
  'slot_pool',
  'slot_batch',
  'slot_keeper',
  'slot_place',
  'tar',
  'stats',
] as const

// Reads exactly N bytes, so that the frames behind the source stay in the pipe; `python3 -` would swallow them.
const LOADER = `import os,sys
if sys.version_info<(3,9):
 os.write(2,b"anyplace-execd: Python 3.9 or later is needed\\n");os._exit(78)
n=int(sys.argv[1]);b=bytearray()
while len(b)<n:
 c=os.read(0,n-len(b))
 if not c:os._exit(74)
 b+=c
p={};i=0
while i<n:
 j=b.index(b"\\n",i);k,l=bytes(b[i:j]).split(b" ");l=int(l);p[k]=bytes(b[j+1:j+1+l]);i=j+2+l
import _frozen_importlib as f,marshal
from _frozen_importlib_external import MAGIC_NUMBER as v
def code(k):return compile(p[b"module:"+k.encode()],"execd/"+k+".py","exec")
made={};g=p.get(b"compiled",b"")
if g[:len(v)]==v:made=marshal.loads(g[len(v):])
elif b"compile" in p and p.get(b"role")!=b"heir":
 made={k:code(k) for k in p[b"compile"].decode().split()}
 g=v+marshal.dumps(made);g=memoryview(b"%d\\n"%len(g)+g)
 while g:g=g[os.write(1,g):]
class F:
 @staticmethod
 def find_spec(name,path=None,target=None):
  if b"module:"+name.encode() in p:return f.ModuleSpec(name,F)
 @staticmethod
 def create_module(spec):return None
 @staticmethod
 def exec_module(m):exec(made.get(m.__name__) or code(m.__name__),m.__dict__)
sys.meta_path.insert(0,F)
import connector
(connector.heir if p.get(b"role")==b"heir" else connector.main)(p)
`

let modules: Promise<ReadonlyMap<string, string>> | undefined

function sources(): Promise<ReadonlyMap<string, string>> {
  modules ??= Promise.all(
    MODULES.map(
      async (name) => [name, await readFile(new URL(`./daemon/${name}.py`, import.meta.url), 'utf8')] as const,
    ),
  ).then((entries) => new Map(entries))
  return modules
}

/** How a connector behaves. */
export interface BootstrapOptions extends CallOptions {
  /** Start the daemon when its socket does not answer; otherwise that is `sandbox-gone`. */
  readonly start: boolean
  /**
   * argv (the first an absolute path) that starts the supervisor and the daemon, such as bwrap and its options; the
   * Python command follows it. Descriptors 0, 10 and 11 must be passed on.
   */
  readonly wrap?: readonly string[] | undefined
  /** The interpreter, as the daemon sees it. @default 'python3' */
  readonly python?: string | undefined
  /**
   * What this place runs as Python, before anybody's command has run there: equal texts must mean the same bytes. The first
   * daemon then gives its compiled modules, and the later ones of this process need not compile them: a third of their start.
   */
  readonly interpreter?: string | undefined
}

/**
 * Everything that a connector reads before the frames: the daemon's modules, the config, what to do. With `compiled` 'wanted'
 * its answer begins with them, see `readCompiled`.
 */
export async function bootstrapInput(
  config: DaemonConfig,
  options: BootstrapOptions,
  compiled?: Uint8Array | 'wanted',
): Promise<Uint8Array> {
  const parts: [string, string | Uint8Array][] = []
  for (const [name, text] of await sources()) parts.push([`module:${name}`, text])
  parts.push(
    ['run_directory', config.runDirectory],
    ['start', options.start ? '1' : '0'],
    ['supervisor', config.supervisor],
    ['wrap', (options.wrap ?? []).join('\0')],
    ['python', options.python ?? 'python3'],
    ['loader', LOADER],
    ['config', JSON.stringify(config)],
  )
  if (compiled === 'wanted') parts.push(['compile', STARTED_WITH.join(' ')])
  else if (compiled !== undefined) parts.push(['compiled', compiled])
  const chunks: Buffer[] = []
  for (const [name, content] of parts) {
    const bytes = Buffer.from(content)
    chunks.push(Buffer.from(`${name} ${bytes.length}\n`), bytes, Buffer.from('\n'))
  }
  return Buffer.concat(chunks)
}

/** argv of a connector that reads `inputBytes` of bootstrap from its stdin. */
export function connectorArgv(inputBytes: number, python = 'python3'): readonly string[] {
  return [python, '-I', '-S', '-c', LOADER, String(inputBytes)]
}

/**
 * Source of the supervisor that runs as pid 1 of a container: `python3 -I -S -c SOURCE EXPIRES_AT_MS MAX_EXPIRES_AT_MS
 * RUN_DIRECTORY [LOADER BYTES]`. It ends, and the container with it, when the time is up or the daemon has ended. With the
 * last two words of a connector's argv a fork of it becomes that connector, on its standard streams: no second interpreter
 * has to start.
 */
export async function supervisorSource(): Promise<string> {
  const text = (await sources()).get('supervisor') ?? ''
  return `${text}

import sys
run = sys.argv[3]
os.makedirs(run, 0o700, exist_ok=True)
expiry = os.open(run + "/expiry", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
def moment(ms):
    return boot_ms() + int(ms) - now_ms()
if len(sys.argv) > 4:
    loader = sys.argv[4]
    if os.fork() == 0:
        sys.argv[1:] = sys.argv[5:]
        exec(loader, {"__name__": "__main__"})
        os._exit(0)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
be_untraceable()
supervise(moment(sys.argv[1]), moment(sys.argv[2]), expiry, None, run + "/execd.pid")
`
}

/**
 * Runs a connector through `run` and gives its channel, which then carries frames.
 *
 * @throws `no-exec-daemon` when there is no Python 3.9 or later; `sandbox-gone` when `start` is false and no daemon runs
 */
export async function bootstrap(
  run: (argv: readonly string[], options: CallOptions) => Promise<Channel>,
  config: DaemonConfig,
  options: BootstrapOptions,
): Promise<Channel> {
  const { interpreter } = options
  const compiled = interpreter === undefined ? undefined : (compiledFor(interpreter) ?? 'wanted')
  const input = await bootstrapInput(config, options, compiled)
  const python = options.wrap === undefined ? options.python : undefined
  let channel: Channel
  try {
    channel = await run(connectorArgv(input.length, python), { signal: options.signal })
  } catch (error) {
    if (AnyplaceError.is(error, 'command-not-found')) throw noDaemon('python3 was not found', error)
    throw error
  }
  try {
    channel.stdin.on('error', () => undefined) // the exit below says why
    channel.stdin.write(input)
    const errors: Buffer[] = []
    const collect = (chunk: Buffer): void => void (errors.length < 64 && errors.push(chunk))
    channel.stderr.on('data', collect)
    let isThere = true
    if (interpreter !== undefined && compiled === 'wanted') {
      const given = await readCompiled(channel.stdout, () => hasOutput(channel, options.signal))
      if (given === undefined) isThere = false
      else keepCompiled(interpreter, given)
    }
    if (isThere && (await hasOutput(channel, options.signal))) return channel
    const exit = await channel.exit
    // stderr may still be on its way when the exit is known
    await Promise.race([once(channel.stderr, 'close'), new Promise((done) => setTimeout(done, 200))]).catch(
      () => undefined,
    )
    throw startFailure(exit.exitCode, Buffer.concat(errors).toString('utf8').trim().slice(-1500))
  } catch (error) {
    await channel.close()
    if (options.signal?.aborted && !AnyplaceError.is(error)) throw abortError(options.signal)
    throw error
  }
}

/** Waits until there is something to read; false when the far end is done instead. */
export async function hasOutput({ stdout, exit }: Channel, given: AbortSignal | undefined): Promise<boolean> {
  if (stdout.readableLength > 0) return true
  const abort = new AbortController()
  const signal = given ? firstOf(given, abort.signal) : abort.signal
  return await Promise.race([
    once(stdout, 'readable', { signal }).then(() => stdout.readableLength > 0),
    exit.then(() => false),
  ]).finally(() => abort.abort())
}

function startFailure(exitCode: number | null, text: string): AnyplaceError {
  if (exitCode === 126 || exitCode === 127 || exitCode === 78) return noDaemon(text || `exit code ${exitCode}`)
  if (exitCode === 75) return new AnyplaceError('sandbox-gone', 'The exec daemon of the sandbox does not run any more')
  return new AnyplaceError(
    'no-exec-daemon',
    `The exec daemon did not start (exit code ${exitCode}): ${text || 'no message'}`,
  )
}

function noDaemon(why: string, cause?: unknown): AnyplaceError {
  return new AnyplaceError('no-exec-daemon', `No exec daemon can run there: ${why}`, {
    hint: 'use an image with Python 3.9 or later',
    cause,
  })
}
