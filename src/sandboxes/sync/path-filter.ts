import picomatch from 'picomatch'
import { AnyplaceError } from '../../spec/index.ts'

/** Which paths of a tree take part. */
export interface PathFilter {
  /** What becomes of a path, whose parents were not left out. */
  decide(path: string, isDirectory: boolean): 'take' | 'leave-out' | 'pass-through'
}

type Matcher = (path: string, isDirectory: boolean) => boolean

/**
 * Patterns as a filter. `pass-through` is a directory that is not included itself and may hold what is.
 *
 * @throws AnyplaceError `invalid-argument` for an empty pattern and for one that leads out of the tree
 */
export function pathFilter(include: readonly string[] | undefined, exclude: readonly string[] | undefined): PathFilter {
  const included = include === undefined ? undefined : include.map((pattern) => matcher(pattern, 'include'))
  const excluded = (exclude ?? []).map((pattern) => matcher(pattern, 'exclude'))
  const taken = new Set<string>()
  return {
    decide(path, isDirectory) {
      if (excluded.some((matches) => matches(path, isDirectory))) return 'leave-out'
      if (included === undefined) return 'take'
      const slash = path.lastIndexOf('/')
      if (taken.has(path.slice(0, Math.max(0, slash))) || included.some((matches) => matches(path, isDirectory))) {
        if (isDirectory) taken.add(path)
        return 'take'
      }
      return isDirectory ? 'pass-through' : 'leave-out'
    },
  }
}

function matcher(pattern: unknown, field: 'include' | 'exclude'): Matcher {
  if (typeof pattern !== 'string') {
    throw new AnyplaceError('invalid-argument', `${field} must hold patterns (got ${typeof pattern}).`, { field })
  }
  const wantsDirectory = pattern.endsWith('/')
  const body = pattern.replace(/\/+$/, '').replace(/^(\.\/)+/, '')
  const isAnchored = body.includes('/')
  const glob = body.replace(/^\/+/, '')
  if (glob === '' || glob.split('/').includes('..')) {
    throw new AnyplaceError(
      'invalid-argument',
      `${field} must hold patterns inside the tree (got ${JSON.stringify(pattern)}).`,
      {
        field,
      },
    )
  }
  const test = picomatch(glob, { dot: true, nonegate: true, strictSlashes: true })
  return (path, isDirectory) => {
    if (wantsDirectory && !isDirectory) return false
    return test(isAnchored ? path : path.slice(path.lastIndexOf('/') + 1))
  }
}
