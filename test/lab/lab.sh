# Sourced by the scripts beside it: where servers of the tests live, and how Debian packages come.

set -euo pipefail

LAB=${ANYPLACE_LAB:-${TMPDIR:-/tmp}/anyplace-lab}
mkdir -p "$LAB"

# say WORD… : progress, never on stdout, which is for results
say() { echo "lab: $*" >&2; }
die() { say "$*"; exit 1; }

# need PROGRAM PACKAGE… : installs the packages when the program is not there
need() {
  local program=$1
  shift
  command -v "$program" >/dev/null && return
  [ "$(id -u)" = 0 ] || die "$program is missing; as root: apt-get install $*"
  say "installing $*"
  apt-get -o DPkg::Lock::Timeout=300 update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@" >&2
}

# answers SOCKET : an engine answers there
answers() { curl -fsS -m 2 --unix-socket "$1" http://engine/_ping >/dev/null 2>&1; }

# await SOCKET SECONDS LOG : waits until an engine answers
await() {
  local i
  for ((i = 0; i < $2 * 10; i++)); do
    answers "$1" && return
    sleep 0.1
  done
  tail -n 20 "$3" >&2 || true
  die "no engine answers at $1 after $2 s; see $3"
}

# is_running PIDFILE WORD : the pid in the file is a process whose command line holds the word
is_running() { [ -s "$1" ] && tr '\0' ' ' <"/proc/$(cat "$1")/cmdline" 2>/dev/null | grep -q -- "$2"; }

# stop_server PIDFILE WORD : ends it and waits
stop_server() {
  local pid
  if is_running "$1" "$2"; then
    pid=$(cat "$1")
    kill "$pid"
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  fi
  rm -f "$1"
}
