import type { Requirements } from '../requirement.ts'

/** Files, trees and artifacts. */
export const fileRequirements = {
  'files:round-trip': { behaviour: 'Empty, binary and text files come back byte for byte.', source: 'A4' },
  'files:atomic-write': { behaviour: 'A reader sees the old file or the new one, never a part.', source: 'Q17' },
  'files:write-stream': {
    behaviour: 'A file can be written from a stream; a stream that fails leaves the old file.',
    source: 'A4',
  },
  'files:read-range': { behaviour: 'A range of a file can be read.', source: 'A4' },
  'files:read-cap': { behaviour: 'read above maxBytes is resource-exhausted.', source: 'A4' },
  'files:many-small': {
    behaviour: '10,000 small files go up and come back as one stream each way.',
    source: 'Q18',
    slow: true,
  },
  'files:big': {
    behaviour: 'A file of 1 GiB goes up and comes back with bounded client memory.',
    source: 'Q19',
    slow: true,
  },
  'files:hostile-names': {
    behaviour: 'Paths with spaces, quotes, newlines, $(), leading dashes and unicode work everywhere.',
    source: 'Q20',
  },
  'files:names-not-utf8': {
    behaviour: 'Paths that are not valid UTF-8 arrive byte for byte.',
    source: 'issue: bad input',
  },
  'files:download-confined': {
    behaviour: 'A download writes nothing outside its target: links out, devices and pipes in the tree do no harm.',
    source: 'Q21',
  },
  'files:upload-confined': {
    behaviour: 'An upload never follows a link inside its target to outside of it.',
    source: 'A4',
  },
  'files:missing': { behaviour: 'A missing path is file-not-found in every call.', source: 'Q22' },
  'files:permission': {
    behaviour: 'A forbidden path is permission-denied and never reported as missing.',
    source: 'Q22',
    needs: ['user', 'idRange'],
    why: 'a second user is needed to forbid something to',
  },
  'files:wrong-kind': {
    behaviour: 'Reading a directory is is-a-directory; listing a file is not-a-directory.',
    source: 'A4',
  },
  'files:list': { behaviour: 'A listing is sorted, typed and relative; recursive when asked.', source: 'A4' },
  'files:list-cap': { behaviour: 'A listing is capped with total and truncated.', source: 'Q23' },
  'files:mode-and-time': { behaviour: 'Mode and modification time survive upload and download.', source: 'Q24' },
  'files:links-kept': { behaviour: 'Symbolic links inside a tree survive upload and download.', source: 'A4' },
  'files:single-file': { behaviour: 'One file can be uploaded and downloaded under a new name.', source: 'A4' },
  'files:exclude': { behaviour: 'exclude leaves paths out, both ways.', source: 'A4' },
  'files:parents': { behaviour: 'write and makeDirectory make parents.', source: 'A4' },
  'files:remove': {
    behaviour: 'A directory needs recursive, a missing path needs force; links are not followed.',
    source: 'A4',
  },
  'files:stat': { behaviour: 'stat does not follow a link and tells where it points.', source: 'A4' },
  'files:relative': { behaviour: 'Relative paths resolve against the workdir, as for commands.', source: 'A4' },
  'files:as-user': { behaviour: 'Files are written as the sandbox’s user.', source: 'A4' },
  'files:local-missing': {
    behaviour: 'Uploading a local path that does not exist is file-not-found and changes nothing.',
    source: 'issue: bad input',
  },
  'artifacts:archive': { behaviour: 'An archive (tar.gz, tar, zip) holds the tree, with its sha256.', source: 'A8' },
  'artifacts:caps': { behaviour: 'maxBytes and maxEntries end an archive with resource-exhausted.', source: 'A8' },
  'artifacts:confined': {
    behaviour: 'An archive holds links as links, never what they point to.',
    source: 'DESIGN execd',
  },
} as const satisfies Requirements
