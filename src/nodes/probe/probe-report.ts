/** A graphics processor that a machine's driver or kernel tells of. What is not known is missing. */
export interface GpuReport {
  readonly model: string
  readonly vendor: 'nvidia' | 'amd' | 'apple' | 'intel' | 'other'
  readonly uuid?: string | undefined
  readonly memoryTotalBytes?: number | undefined
  readonly memoryFreeBytes?: number | undefined
  /** 0 to 100. */
  readonly utilizationPercent?: number | undefined
  readonly driverVersion?: string | undefined
  /** The newest CUDA that the driver runs; toolkits are in {@link ProbeReport.cudaToolkits}. */
  readonly cudaVersion?: string | undefined
  /** Whether the card is in MIG mode; missing where it has none. */
  readonly migEnabled?: boolean | undefined
  /** The slices of a card in MIG mode. */
  readonly migDevices?: readonly MigDevice[] | undefined
}

/** One slice of a card in MIG mode. */
export interface MigDevice {
  /** `1g.10gb`, as the driver names it. */
  readonly profile?: string | undefined
  readonly uuid?: string | undefined
  readonly memoryTotalBytes?: number | undefined
  readonly memoryFreeBytes?: number | undefined
}

/** A program for containers. `isUsable` is missing where that was not asked. */
export interface RuntimeReport {
  readonly name: 'docker' | 'podman' | 'apptainer' | 'singularity' | 'nvidia-ctk'
  readonly version?: string | undefined
  /** False when the program is there and its engine does not answer. */
  readonly isUsable?: boolean | undefined
  /** What it said when it is not usable. */
  readonly problem?: string | undefined
}

/** A program with a version, such as `3.12.1`. */
export interface ProgramReport {
  readonly version: string
  readonly path: string
}

/** What a machine is. A value that could not be found out is missing; why is in `problems` where it is known. */
export interface ProbeReport {
  /** As asked for. */
  readonly node: string
  readonly os: {
    /** `Linux`, `Darwin` … */
    readonly kernel?: string | undefined
    readonly kernelVersion?: string | undefined
    /** `Ubuntu`, `macOS`. */
    readonly distribution?: string | undefined
    /** `22.04`. */
    readonly version?: string | undefined
    /** `x86_64`, as the kernel spells it. */
    readonly architecture?: string | undefined
  }
  readonly cpu: {
    readonly model?: string | undefined
    /** Cores that this user's processes may use. */
    readonly cores?: number | undefined
    /** A cap in cores that the surroundings (a container) set. */
    readonly limit?: number | undefined
  }
  readonly memory: {
    readonly totalBytes?: number | undefined
    readonly availableBytes?: number | undefined
    /** A cap that the surroundings (a container) set. */
    readonly limitBytes?: number | undefined
  }
  /** The disk that holds the workspace. */
  readonly disk: {
    /** The workspace, or the directory above that will hold it. */
    readonly path?: string | undefined
    readonly totalBytes?: number | undefined
    /** What this user can still write. */
    readonly freeBytes?: number | undefined
  }
  readonly gpus: readonly GpuReport[]
  /** CUDA toolkits installed, newest first: `12.4`. */
  readonly cudaToolkits: readonly string[]
  readonly runtimes: readonly RuntimeReport[]
  /** Newest first, each interpreter once. */
  readonly pythons: readonly ProgramReport[]
  /** Newest first. */
  readonly nodes: readonly ProgramReport[]
  /** `9.2p1`. */
  readonly sshVersion?: string | undefined
  readonly rsyncVersion?: string | undefined
  /** From the start of the probe to its first answer: the way there and back and the start of a shell. */
  readonly roundTripMs: number
  readonly durationMs: number
  /** What went wrong, one line each: a tool that did not answer, a driver that failed, output that was cut. */
  readonly problems: readonly string[]
}
