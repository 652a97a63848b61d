import { supervisorSource } from '../../execd/bootstrap.ts'

/** Root-only memory of the container: the daemon's socket, the expiry and the pid file. */
export const RUN_DIRECTORY = '/run/anyplace'

/** What the first client reads on stderr where no daemon can run. */
export const NO_PYTHON = 'anyplace-execd: there is no python3'

// Old Python gets the shell's supervisor. The source is a parameter, so that an old one never has to parse it.
const PYTHON_START = `import sys
if sys.version_info < (3, 9):
    import os
    os.write(2, b"anyplace-execd: Python 3.9 or later is needed\\n")
    for fd in (0, 1, 2):
        os.dup2(os.open("/dev/null", os.O_RDWR), fd)
    os.execv("/bin/sh", ["/bin/sh", "-c", sys.argv[1], "sh"] + sys.argv[3:])
source = sys.argv[2]
sys.argv[1:] = sys.argv[3:]
exec(source)
`

/**
 * The same for images without Python, in POSIX sh: `$1` and `$2` are the end and the latest end in milliseconds since the
 * epoch, `$3` the run directory, whose file `expiry` may hold a later end (milliseconds of CLOCK_BOOTTIME, zeros in front).
 *
 * It counts by /proc/uptime, which is that clock: reading it needs no process, so a full pids limit stops nothing, and setting
 * the clock moves nothing. Waiting reaps orphans. A killed `sleep` only makes it look again.
 */
export const SHELL_SUPERVISOR = `trap '' HUP INT QUIT USR1 USR2 PIPE ALRM TERM
now=$(date +%s) || exit 70
read -r up rest </proc/uptime || exit 70
up=\${up%.*}
ends=$((\${1%???} - now + up + 1))
max=$((\${2%???} - now + up + 1))
while :; do
  read -r up rest </proc/uptime || exit 70
  later=
  read -r later 2>/dev/null <"$3/expiry"
  case $later in *[!0-9]*) later= ;; esac
  later=\${later#"\${later%%[!0]*}"}
  later=$((\${later:-0} / 1000 + 1))
  if [ "$later" -gt "$ends" ]; then ends=$later; fi
  if [ "$ends" -gt "$max" ]; then ends=$max; fi
  left=$((ends - \${up%.*}))
  if [ "$left" -le 0 ]; then exit 0; fi
  sleep "$left"
  if [ $? -eq 127 ]; then exit 70; fi
done`

/** Without Python it says so, and lets go of the streams: whoever waits on them for a daemon shall know. */
const START = `command -v python3 >/dev/null 2>&1 && exec python3 -I -S -c "$@"
echo '${NO_PYTHON}' >&2
exec </dev/null >/dev/null 2>&1
shell=$2
shift 3
eval "$shell"`

/**
 * What pid 1 of a container runs: it ends the container when the time is up, reaps, and lets a fork of itself be the first
 * connector (the last two words of its argv) on its standard streams. The entrypoint is /bin/sh.
 */
export async function supervisorArguments(
  expiresAtMs: number,
  maxExpiresAtMs: number,
  connector: readonly string[],
): Promise<readonly string[]> {
  const ends = [String(Math.ceil(expiresAtMs)), String(Math.ceil(maxExpiresAtMs)), RUN_DIRECTORY]
  return ['-c', START, 'anyplace', PYTHON_START, SHELL_SUPERVISOR, await supervisorSource(), ...ends, ...connector]
}
