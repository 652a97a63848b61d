import type { TarHeader } from '../../kit/tar-header.ts'
import { TarReader } from '../../kit/tar-reader.ts'

/** One entry of a tar; the body must be read before the next entry is asked for. */
export interface TarEntry {
  readonly header: TarHeader
  readonly body: AsyncIterable<Uint8Array>
}

const ORDINARY = new Set(['0', '7', '1', '2', '5'])
const CHUNK_BYTES = 256 * 1024

/**
 * The files, links and directories of a tar that the place's own tar made: names without the leading `./`, the root and
 * everything that is no file (pipes, devices) left out.
 */
export async function* ordinaryEntries(
  source: AsyncIterable<Uint8Array>,
  options: {
    readonly maxEntries: number
    readonly signal?: AbortSignal | undefined
    /** Set-id and sticky bits are masked away with 0o777. */
    readonly modeMask?: number | undefined
    /** Paths to leave out with all below them. */
    readonly exclude?: readonly string[] | undefined
    /** All else is left out. The place's tar cannot be told so portably, so it sends everything. */
    readonly only?: ReadonlySet<string> | undefined
    readonly onEntry?: (() => void) | undefined
  },
): AsyncGenerator<TarEntry, void, undefined> {
  const reader = new TarReader(source, options)
  async function* body(): AsyncGenerator<Uint8Array, void, undefined> {
    for (
      let bytes = await reader.readSome(CHUNK_BYTES);
      bytes !== undefined;
      bytes = await reader.readSome(CHUNK_BYTES)
    ) {
      yield bytes
    }
  }
  try {
    for (let header = await reader.next(); header !== undefined; header = await reader.next()) {
      const name = withoutDot(header.name)
      if (name === '' || !ORDINARY.has(header.type)) continue
      if (options.exclude?.some((path) => name === path || name.startsWith(`${path}/`))) continue
      if (options.only?.has(name.replace(/\/+$/, '')) === false) continue
      options.onEntry?.()
      const linkName = header.type === '1' ? withoutDot(header.linkName) : header.linkName
      const mode = header.mode & (options.modeMask ?? 0o7777)
      yield { header: { ...header, type: header.type === '7' ? '0' : header.type, name, linkName, mode }, body: body() }
    }
  } finally {
    reader.release()
  }
}

function withoutDot(name: string): string {
  return name === '.' ? '' : name.replace(/^(\.\/+)+/, '')
}
