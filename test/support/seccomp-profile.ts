/** Enough for a test: what a container may never do, and all the rest. A real one is the engine's own with two calls more. */
export const SLOT_SECCOMP_PROFILE = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [
    { names: ['kexec_load', 'init_module', 'finit_module', 'delete_module', 'reboot'], action: 'SCMP_ACT_ERRNO' },
  ],
}
