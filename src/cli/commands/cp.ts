import { resolve } from 'node:path'
import { defineCommand } from '../command.ts'
import { localTarget, parseCopy, remoteTarget } from '../copy-paths.ts'
import { formatBytes } from '../parse-size.ts'
import { given } from '../sandbox-request.ts'
import { jsonOption, nodeOptions } from '../shared-options.ts'
import { heads } from '../verb-heads.ts'

export const cpCommand = defineCommand({
  ...heads.cp,
  details:
    'One side is SANDBOX:PATH. As with `cp -r`, an existing directory as the target gets the source inside it; ' +
    'SOURCE/. copies what is in SOURCE. Relative paths inside start at the working directory of the sandbox. A local ' +
    'name with a colon is written ./name.',
  examples: [
    { command: 'anyplace cp data.csv work:', summary: 'a file into the working directory' },
    { command: 'anyplace cp ./src work:project/src', summary: 'a directory in' },
    { command: 'anyplace cp work:out/. ./results', summary: 'the contents of a directory out' },
  ],
  arguments: {
    source: { placeholder: 'SOURCE', summary: 'local path, or SANDBOX:PATH', presence: 'required' },
    target: { placeholder: 'TARGET', summary: 'local path, or SANDBOX:PATH', presence: 'required' },
  },
  options: { ...nodeOptions, ...jsonOption },
  async run({ arguments: { source, target }, options, io, reporter, api }) {
    const copy = parseCopy(source, target)
    const { attach } = await api()
    const box = await attach(copy.sandbox, { ...given('on', options.on), signal: io.signal })
    try {
      const progress = {
        signal: io.signal,
        onProgress: ({ files, bytes }: { readonly files: number; readonly bytes: number }) =>
          reporter.progress(
            `${copy.direction === 'in' ? 'uploading' : 'downloading'}: ${files} files, ${formatBytes(bytes)}`,
          ),
      }
      const local = resolve(io.cwd, copy.localPath)
      const moved =
        copy.direction === 'in'
          ? await remoteTarget(box.files, copy, io.signal).then((to) => box.files.upload(local, to, progress))
          : await localTarget(copy, local).then((to) => box.files.download(copy.remotePath, to, progress))
      const text = `${moved.files} ${moved.files === 1 ? 'file' : 'files'}, ${formatBytes(moved.bytes)}\n`
      await reporter.result({ sandbox: box.name, ...moved }, text)
    } finally {
      await box.detach()
    }
  },
})
