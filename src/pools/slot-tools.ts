import { posix } from 'node:path'
import { AnyplaceError, CommandError } from '../spec/index.ts'
import type { RunResult, SlotCommand } from '../spec/index.ts'
import { newId } from '../kit/ids.ts'

/** What a tool is given. */
export interface ToolArguments {
  /** bash and bash_stateful: the text that bash reads. */
  readonly command?: string | undefined
  /** read_file and write_file: relative to the slot's home. */
  readonly path?: string | undefined
  /** write_file: what the file is to hold. */
  readonly content?: string | Uint8Array | undefined
}

/**
 * - `bash`: a text for a fresh bash
 * - `bash_stateful`: a text for the slot's own bash, whose directory, variables and functions stay
 * - `read_file`: the file is the output
 * - `write_file`: directories above it are made
 */
export type ToolName = 'bash' | 'bash_stateful' | 'read_file' | 'write_file'

export const TOOL_NAMES: readonly ToolName[] = ['bash', 'bash_stateful', 'read_file', 'write_file']

/** What became of one call of a tool. */
export interface ToolResult {
  /** True when it ran and ended with 0. */
  readonly success: boolean
  /** stdout, then stderr on a new line when there is any. */
  readonly output: string
  /** Empty on success. */
  readonly error: string
  readonly executionId: string
  readonly slotId: string
  readonly metadata: ToolMetadata
  /** The two outputs apart, and as bytes; absent when the command did not run. */
  readonly result?: RunResult | undefined
  /** Why there is no success; never the failure of another call. */
  readonly failure?: AnyplaceError | undefined
}

export interface ToolMetadata {
  /** Absent when the command did not run. */
  readonly returncode?: number
  readonly signal?: string
  readonly timedOut?: boolean
  readonly oomKilled?: boolean
  readonly truncated?: boolean
  readonly durationMs?: number
  /** The failure's code. */
  readonly code?: string
}

const WRITE = 'mkdir -p -- "$1" && cat >"$2"'
const WRITE_HERE = 'cat >"$2"'

/**
 * The command that a tool stands for. Paths and contents never meet a shell's parser: they are arguments and stdin.
 *
 * @throws AnyplaceError `invalid-argument` for an unknown tool, and for arguments that are missing or no text
 */
export function toolCommand(
  slot: string,
  tool: string,
  given: ToolArguments,
  limits: { readonly timeoutMs: number; readonly maxOutputBytes: number },
): SlotCommand {
  const common = { slot, ...limits }
  switch (tool) {
    case 'bash':
      return { ...common, argv: ['bash', '-c', textArgument(tool, given, 'command')] }
    case 'read_file':
      return { ...common, argv: ['cat', '--', filePath(tool, given)] }
    case 'write_file': {
      const path = filePath(tool, given)
      const { content } = given
      if (typeof content !== 'string' && !(content instanceof Uint8Array)) throw missing(tool, 'content', content)
      const directory = posix.dirname(path)
      return {
        ...common,
        argv: ['sh', '-c', directory === '.' ? WRITE_HERE : WRITE, 'write_file', directory, path],
        input: content,
      }
    }
    default:
      throw unknownTool(tool)
  }
}

/** A text argument of a tool. @throws AnyplaceError `invalid-argument` */
export function textArgument(tool: string, given: ToolArguments, name: 'command' | 'path'): string {
  const value = given[name]
  if (typeof value !== 'string') throw missing(tool, name, value)
  if (value.includes('\0')) {
    throw new AnyplaceError('invalid-argument', `${tool}: ${name} must not contain NUL.`, { field: name })
  }
  return value
}

export function unknownTool(tool: string): AnyplaceError {
  return new AnyplaceError('invalid-argument', `No tool named ${JSON.stringify(tool)}.`, {
    field: 'tool',
    hint: `there are ${TOOL_NAMES.join(', ')}`,
  })
}

/** A result of a command that ran. */
export function ranResult(slotId: string, tool: string, result: RunResult, executionId: string = newId()): ToolResult {
  const { exitCode, signal, timedOut, oomKilled, truncated, durationMs } = result
  const success = exitCode === 0 && !timedOut
  const failure = success ? undefined : new CommandError([tool], result)
  return {
    success,
    output: result.stderr === '' ? result.stdout : joined(result.stdout, result.stderr),
    error: success ? '' : failureText(result),
    executionId,
    slotId,
    metadata: {
      returncode: exitCode,
      durationMs,
      ...(signal === null ? {} : { signal }),
      ...(timedOut ? { timedOut } : {}),
      ...(oomKilled ? { oomKilled } : {}),
      ...(truncated ? { truncated } : {}),
    },
    result,
    failure,
  }
}

/** A result of one that did not. */
export function failedResult(slotId: string, failure: AnyplaceError, executionId: string = newId()): ToolResult {
  return {
    success: false,
    output: '',
    error: failure.message,
    executionId,
    slotId,
    metadata: { code: failure.code },
    failure,
  }
}

function joined(stdout: string, stderr: string): string {
  return stdout === '' ? stderr : `${stdout}\n${stderr}`
}

function failureText({ exitCode, timedOut, oomKilled, durationMs }: RunResult): string {
  if (timedOut) return `Command timed out after ${Math.round(durationMs)} ms`
  return oomKilled ? 'Out of memory' : `Exit code: ${exitCode}`
}

function filePath(tool: string, given: ToolArguments): string {
  const path = textArgument(tool, given, 'path')
  if (path !== '') return path
  throw new AnyplaceError('invalid-argument', `${tool}: path is empty.`, { field: 'path' })
}

function missing(tool: string, name: string, value: unknown): AnyplaceError {
  const wanted = name === 'content' ? 'text or bytes' : 'text'
  return new AnyplaceError('invalid-argument', `${tool} needs ${name}: ${wanted} (got ${typeof value}).`, {
    field: name,
  })
}
