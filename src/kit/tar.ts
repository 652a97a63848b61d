export { packTree } from './pack-tree.ts'
export type { PackOptions, PackResult } from './pack-tree.ts'
export { unpackTree } from './unpack-tree.ts'
export type { UnpackOptions } from './unpack-tree.ts'
