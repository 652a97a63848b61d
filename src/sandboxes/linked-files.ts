import type { CallOptions, Files, Session } from '../spec/index.ts'

/** Runs a call on a session that works; a repeatable one is asked again when the link broke under it. */
export type SessionCall = <T>(
  call: (session: Session) => Promise<T>,
  options: CallOptions & { readonly repeatable?: boolean },
) => Promise<T>

type FilesCall = <T>(
  call: (session: Pick<Session, 'files'>) => Promise<T>,
  options: CallOptions & { readonly repeatable?: boolean },
) => Promise<T>

/** Files over whatever session works at the moment. What only reads is asked again after a lost link; what writes is not. */
export function linkedFiles(call: FilesCall): Files {
  const reading = <T>(options: CallOptions | undefined, ask: (files: Files) => Promise<T>): Promise<T> =>
    call((session) => ask(session.files), { signal: options?.signal, repeatable: true })
  const writing = <T>(options: CallOptions | undefined, ask: (files: Files) => Promise<T>): Promise<T> =>
    call((session) => ask(session.files), { signal: options?.signal })
  return {
    read: (path, options) => reading(options, (files) => files.read(path, options)),
    readText: (path, options) => reading(options, (files) => files.readText(path, options)),
    readStream: (path, options) => reading(options, (files) => files.readStream(path, options)),
    list: (path, options) => reading(options, (files) => files.list(path, options)),
    stat: (path, options) => reading(options, (files) => files.stat(path, options)),
    exists: (path, options) => reading(options, (files) => files.exists(path, options)),
    archive: (path, options) => reading(options, (files) => files.archive(path, options)),
    write: (path, content, options) => writing(options, (files) => files.write(path, content, options)),
    remove: (path, options) => writing(options, (files) => files.remove(path, options)),
    makeDirectory: (path, options) => writing(options, (files) => files.makeDirectory(path, options)),
    upload: (localPath, remotePath, options) =>
      writing(options, (files) => files.upload(localPath, remotePath, options)),
    download: (remotePath, localPath, options) =>
      writing(options, (files) => files.download(remotePath, localPath, options)),
  }
}
