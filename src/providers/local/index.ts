export { localMachine } from './local-machine.ts'
export { localProvider } from './local-provider.ts'
export type { LocalProviderOptions } from './local-provider.ts'
