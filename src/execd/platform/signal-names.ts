/** Linux numbers, whatever system the client runs on: the numbers of macOS differ. */
const NAMES = (
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU ' +
  'XFSZ VTALRM PROF WINCH IO PWR SYS'
).split(' ')

/** `SIGKILL` for 9; `SIGRTMIN+2` style numbers come as `SIG36`. */
export function signalName(number: number): string {
  return `SIG${NAMES[number - 1] ?? number}`
}

/** 9 for `SIGKILL` or `KILL`; undefined when Linux has no such signal. */
export function signalNumber(name: string): number | undefined {
  const index = NAMES.indexOf(name.replace(/^SIG/, ''))
  return index < 0 ? undefined : index + 1
}
