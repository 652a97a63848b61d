export { closeHostLinks } from './host-link.ts'
export { sshProvider } from './ssh-provider.ts'
export type { SshProviderOptions } from './ssh-provider.ts'
export type { PrivateKey, SshIdentity, SshTarget } from './ssh-target.ts'
