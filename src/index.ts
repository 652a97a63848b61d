export { attach, doctor, gc, list, open, remove } from './nodes/open.ts'
export type { ListedSandbox, NodeOptions, OpenOptions } from './nodes/open.ts'
export { probe } from './nodes/probe/probe.ts'
export type { ProbeOptions } from './nodes/probe/probe.ts'
export { formatProbe } from './nodes/probe/format-probe.ts'
export type { GpuReport, MigDevice, ProbeReport, ProgramReport, RuntimeReport } from './nodes/probe/probe-report.ts'
export { createPool, createPoolManager } from './nodes/pools.ts'
export type { PoolManagerOptions, PoolOptions } from './nodes/pools.ts'
export { loadProfiles } from './pools/load-profiles.ts'
export type { ProfileSources } from './pools/load-profiles.ts'
export type { Pool } from './pools/pool.ts'
export type { PoolManager, PoolManagerStatus } from './pools/pool-manager.ts'
export type {
  AcquireOptions,
  CommonPoolOptions,
  LeaseReference,
  PoolEvent,
  PoolStatus,
  ProfileSummary,
  ReleaseOptions,
  SandboxStatus,
  SecretResolver,
} from './pools/pool-options.ts'
export type { ExecuteBatchOptions, ExecuteRequest } from './pools/batch-runner.ts'
export type { Lease } from './pools/lease.ts'
export type { LoadedProfile, PoolProfile, ProfileInput, ResetStrategy, ValueOrigin } from './pools/profile.ts'
export type { SlotState } from './pools/slot-state.ts'
export type { ToolArguments, ToolMetadata, ToolName, ToolResult } from './pools/slot-tools.ts'
export { copyKey } from './nodes/keys/copy-key.ts'
export type { CopiedKey, CopyKeyOptions } from './nodes/keys/copy-key.ts'
export { addKey, generateKey, getKey, listKeys, removeKey } from './nodes/keys/keys.ts'
export type { AddKeyOptions, GenerateKeyOptions } from './nodes/keys/keys.ts'
export type { KeyInfo } from './nodes/keys/key-records.ts'
export { listHosts, trustHost, untrustHost } from './nodes/hosts/hosts.ts'
export type { HostKeyInfo, HostScan, PinnedHostKey, TrustedHost, TrustHostOptions } from './nodes/hosts/hosts.ts'
export { addNode, getNode, listNodes, removeNode, setDefaultNode } from './nodes/registry/nodes.ts'
export type { AddNodeOptions } from './nodes/registry/nodes.ts'
export type { LocalNodeConfig, NodeConfig, NodeHealth, NodeInfo, SshNodeConfig } from './nodes/registry/node-records.ts'
export { testNode } from './nodes/registry/test-node.ts'
export type { NodeTest, NodeTestStep } from './nodes/registry/test-node.ts'
export { Image } from './images/image.ts'
export type { Sandbox, SandboxInfo } from './sandboxes/sandbox.ts'
export { syncDown, syncUp } from './nodes/sync-tree.ts'
export type { TreePlace } from './nodes/sync-tree.ts'
export type { Sync } from './sandboxes/sync/sync.ts'
export type { SyncChange, SyncOptions, SyncProgress, SyncResult } from './sandboxes/sync/sync-options.ts'
export type { AttachSandboxOptions } from './sandboxes/attach-sandbox.ts'
export type { Artifact, Artifacts, ReadArtifactOptions } from './sandboxes/artifacts.ts'
export type { Forward, ForwardOptions } from './sandboxes/forward.ts'
export type { GcEntry, GcOptions, GcReport } from './sandboxes/gc.ts'
export { AnyplaceError, CommandError, DEFAULTS, ERROR_CODES } from './spec/index.ts'
export type {
  ArchiveOptions,
  Argv,
  AttachOptions,
  CallOptions,
  ErrorCode,
  ErrorDetails,
  ExitStatus,
  FileInfo,
  Files,
  Finding,
  GpuRequest,
  HostInfo,
  Isolation,
  ListOptions,
  Listing,
  Mount,
  OutputLine,
  Owner,
  Process,
  ProcessInfo,
  ResetReport,
  RunOptions,
  RunResult,
  SandboxSpec,
  Session,
  SessionInfo,
  SessionPowers,
  ShellResult,
  Slot,
  SlotIsolation,
  SlotResult,
  SlotShell,
  Slots,
  SpawnOptions,
  Stats,
  TreeOptions,
  TreeResult,
  WriteOptions,
} from './spec/index.ts'
