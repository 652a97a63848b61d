export { AnyplaceError, ERROR_CODES, unsupportedField } from './errors.ts'
export type { ErrorCode, ErrorDetails } from './errors.ts'
export { CommandError } from './command-error.ts'
export type { CallOptions, Channel, ChannelExit } from './channel.ts'
export type { Machine, MachineFacts, MachineRunOptions } from './machine.ts'
export { DEFAULTS } from './sandbox-spec.ts'
export type { GpuRequest, Lifetime, Mount, SandboxSpec } from './sandbox-spec.ts'
export type { Engine, Finding, Host, HostInfo, Isolation, OpenRequest, Owner, Provider } from './provider.ts'
export type {
  Argv,
  AttachOptions,
  ExitStatus,
  OutputLine,
  Process,
  ProcessInfo,
  RunOptions,
  RunResult,
  SpawnOptions,
} from './process.ts'
export type {
  ArchiveOptions,
  FileInfo,
  Files,
  ListOptions,
  Listing,
  TreeOptions,
  TreeResult,
  WriteOptions,
} from './files.ts'
export type { Session, SessionInfo, SessionPowers, Stats } from './session.ts'
export type {
  BatchOptions,
  ResetReport,
  ScanReport,
  ShellResult,
  Slot,
  SlotCommand,
  SlotIsolation,
  SlotRemnant,
  SlotRequest,
  SlotResult,
  SlotShell,
  Slots,
  SlotsInfo,
} from './slots.ts'
