import { resolve } from 'node:path'
import { splitRemote } from '../copy-paths.ts'
import { defineCommand, flag, list } from '../command.ts'
import { formatBytes } from '../parse-size.ts'
import { parseText } from '../parse-values.ts'
import { printableLine } from '../printable.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions } from '../shared-options.ts'
import { usageError } from '../usage-error.ts'
import { heads } from '../verb-heads.ts'

const SIGNS = { create: '+', update: '~', delete: '-' } as const

export const syncCommand = defineCommand({
  ...heads.sync,
  details:
    'Two directories are compared by size, time in whole seconds, permissions and the targets of links, and what differs ' +
    'moves as one stream. NAME is a node, whose relative paths start at its workspace, or else a sandbox; with --on it is ' +
    'always a sandbox. A pattern without a slash matches a name at any depth (*.py), one with a slash a path from the root ' +
    '(src/**); a slash at the end matches directories only. What is excluded is never deleted.',
  examples: [
    { command: 'anyplace sync up ./project work:project', summary: 'into a sandbox' },
    { command: 'anyplace sync up . gpu-box:project --exclude .git --delete', summary: 'to a machine, an exact copy' },
    { command: 'anyplace sync down ./results gpu-box:project/out --dry-run', summary: 'what would come back' },
  ],
  arguments: {
    direction: { placeholder: 'up|down', summary: 'up or down', presence: 'required', choices: ['up', 'down'] },
    local: { placeholder: 'LOCAL', summary: 'local directory', presence: 'required' },
    remote: { placeholder: 'NAME:PATH', summary: 'directory of a sandbox or node', presence: 'required' },
  },
  options: {
    include: list('PATTERN', 'move only what matches, or lies in a directory that does', parseText),
    exclude: list('PATTERN', 'leave out what matches, and all in it', parseText),
    delete: flag('remove at the target what the source does not have'),
    dryRun: flag('show what would be done and do nothing', 'n'),
    ...nodeOptions,
    ...jsonOption,
  },
  async run({ arguments: words, options, io, reporter, api }) {
    // In the order of a copy it is just as clear what is meant.
    const swapped = words.direction === 'down' && splitRemote(words.remote) === undefined
    const [local, remote] = swapped ? [words.remote, words.local] : [words.local, words.remote]
    const named = splitRemote(remote)
    if (named === undefined) {
      throw usageError(
        `The other side must be NAME:PATH (got ${JSON.stringify(remote)}).`,
        'for example: anyplace sync up . work:project',
      )
    }
    const { isNode, syncDown, syncUp } = await api()
    const isMachine = options.on === undefined && (await isNode(named.sandbox))
    const place = isMachine
      ? { on: named.sandbox, path: named.path }
      : { sandbox: named.sandbox, path: named.path, ...given('on', options.on) }
    const syncOptions = {
      ...(options.include.length > 0 ? { include: options.include } : {}),
      exclude: options.exclude,
      delete: options.delete,
      dryRun: options.dryRun,
      signal: io.signal,
      onProgress: ({ bytes, files, phase, totalBytes, totalFiles }: SyncProgress) =>
        reporter.progress(
          phase === 'comparing'
            ? 'comparing'
            : `${phase}: ${files} of ${totalFiles} files, ${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
        ),
    }
    const path = resolve(io.cwd, local)
    const result =
      words.direction === 'up' ? await syncUp(path, place, syncOptions) : await syncDown(place, path, syncOptions)
    const lines = result.dryRun
      ? result.changes.map(
          ({ action, path: changed, type }) =>
            `${SIGNS[action]} ${printableLine(changed)}${type === 'directory' ? '/' : ''}\n`,
        )
      : []
    const { bytes, deleted, files, unchanged } = result
    const total = `${files} ${files === 1 ? 'file' : 'files'}, ${formatBytes(bytes)}; ${deleted} deleted, ${unchanged} unchanged`
    await reporter.result({ ...result }, `${lines.join('')}${result.dryRun ? 'would move ' : ''}${total}\n`)
  },
})

interface SyncProgress {
  readonly phase: string
  readonly files: number
  readonly bytes: number
  readonly totalFiles: number
  readonly totalBytes: number
}
