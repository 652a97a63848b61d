import { READ_WORDS } from './parameters.ts'
import { TREE_FUNCTIONS } from './tree-script.ts'

/** Tells why an absolute path could not be opened: one of `file-not-found`, `permission-denied`, `not-a-directory`. */
export const WHY_FUNCTION = `
why() {
  path=$1
  while :; do
    while :; do case $path in ?*/) path=\${path%/} ;; *) break ;; esac; done
    above=\${path%/*}
    [ -n "$above" ] || above=/
    if [ -e "$above" ]; then
      if [ ! -d "$above" ]; then echo not-a-directory
      elif [ ! -x "$above" ]; then echo permission-denied
      elif [ -e "$path" ]; then echo permission-denied
      else echo file-not-found; fi
      return
    fi
    if [ -L "$above" ]; then echo file-not-found; return; fi
    case $above in / | "$path") echo file-not-found; return ;; esac
    path=$above
  done
}
`

/**
 * Becomes the command: the last steps of a subshell. It says its numbers on stderr first: pid, waiting shell, that one's
 * start time, own session or 0.
 *
 * Variables are exported by the shell and not given to `env`, whose argv every user of the place can read; only names that
 * no shell can hold go that way.
 */
const BECOME_FUNCTION = `
say() { printf '\\001anyplace %s %s\\002' "$nonce" "$*" >&2; }
refuse() { printf '%s: %s\\n' "$command" "$2" >&2; exit "$1"; }
judge() {
  if [ -d "$1" ]; then refuse 126 'Is a directory'; fi
  if [ ! -x "$1" ]; then refuse 126 'Permission denied'; fi
}
check_command() {
  case $command in
  */*) [ -e "$command" ] || refuse 127 'command not found'; judge "$command" ;;
  *)
    seen= rest=$search:
    while [ -n "$rest" ]; do
      place=\${rest%%:*} rest=\${rest#*:}
      file=\${place:-.}/$command
      if [ -f "$file" ]; then
        seen=$file
        [ ! -x "$file" ] || break
      fi
    done
    [ -n "$seen" ] || refuse 127 'command not found'
    judge "$seen"
    ;;
  esac
}
become() {
  { echo 800 >/proc/self/oom_score_adj; } 2>/dev/null
  if ! cd "$directory" 2>/dev/null; then
    if [ -e "$directory" ] && [ ! -d "$directory" ]; then say 'cwd not-a-directory'; else say "cwd $(why "$directory")"; fi
    exit 125
  fi
  { read -r me line; } </proc/self/stat
  chief=0 began=0 shell=0
  if look "$me"; then shell=$parent; fi
  if look "$shell"; then began=$started; fi
  if [ -n "$setsid" ]; then chief=$me; fi
  say "start $me $shell $began $chief"
  check_command
  if [ "$odd" -gt 0 ]; then
    index=0
    for word; do
      if [ "$index" = 0 ]; then set --; fi
      if [ "$index" = "$plain" ]; then set -- "$@" "$env"; fi
      if [ "$index" = $((plain + odd)) ]; then
        # env would take such a command for an assignment, so a shell starts it.
        case $command in *=*) set -- "$@" /bin/sh -c 'exec "$@"' sh ;; esac
      fi
      index=$((index + 1))
      set -- "$@" "$word"
    done
  fi
  _anyplace_left=$plain _anyplace_start=$setsid
  { unset -v PWD OLDPWD SHLVL LC_ALL $clear; } 2>/dev/null
  while [ "$_anyplace_left" -gt 0 ]; do
    { export "$1"; } 2>/dev/null
    shift
    _anyplace_left=$((_anyplace_left - 1))
  done
  if [ -n "$_anyplace_start" ]; then exec "$_anyplace_start" -- "$@"; fi
  exec "$@"
}
`

/**
 * Runs one command and tells its end. Its words come on stdin before the command's own input (see READ_WORDS), because
 * argv is public: nonce, id, deadline in seconds or nothing, a short sleep, `pipe` or `none` for stdin, cwd, the command,
 * the PATH to find it in, names to clear, how many plain and how many odd assignments, assignments, argv.
 *
 * Both outputs end with a mark that holds the nonce: whatever a background child writes later is no part of them, and a
 * missing mark proves a lost tail. The shell that waits says "Killed" and the like for a signal, which tells `kill -9`
 * from `exit 137`; only dash and ash say so, and not for SIGINT and SIGPIPE.
 */
export const COMMAND_SCRIPT = `
LC_ALL=C
export LC_ALL
${READ_WORDS}
nonce=$1 id=$2 limit=$3 nap=$4 input=$5 directory=$6 command=$7 search=$8 clear=$9
shift 9
plain=$1 odd=$2
shift 2
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset CDPATH IFS
export PATH
setsid=$(command -v setsid) env=$(command -v env)
[ "$input" = pipe ] || exec </dev/null
timed=0 watch=
trap : HUP INT QUIT TERM
trap 'timed=1' USR1
${TREE_FUNCTIONS}
${WHY_FUNCTION}
${BECOME_FUNCTION}
ooms() {
  ooms=0
  for file in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
    if [ -r "$file" ]; then
      while read -r name value; do
        if [ "$name" = oom_kill ]; then ooms=$value; fi
      done <"$file"
      return
    fi
  done
}
watchdog() {
  look $$ || exit 0
  ours=$started
  sleep "$limit" || exit 0
  trap '' HUP INT QUIT TERM
  # A stranger may have the number by now.
  if look $$ && [ "$started" = "$ours" ]; then kill -USR1 $$; else exit 0; fi
  { read -r me line; } </proc/self/stat
  spare="$me $$" root= chief= shell= own=$setsid
  for p in /proc/[0-9]*; do
    p=\${p#/proc/}
    if [ "$p" != "$me" ] && look "$p" && [ "$parent" = $$ ]; then shell=$p; fi
  done
  root=$shell
  for p in /proc/[0-9]*; do
    p=\${p#/proc/}
    if look "$p" && [ "$parent" = "$shell" ] && [ "$session" = "$p" ]; then chief=$p; fi
  done
  spare="$spare $shell"
  kill_tree
}
# Not by a trap in the watchdog: a signal that comes before the trap is set would be lost, and the sleep stay.
stop_watchdog() {
  kill -STOP "$watch"
  while look "$watch"; do
    case $state in T | t | Z | X) break ;; esac
  done
  for p in /proc/[0-9]*; do
    p=\${p#/proc/}
    if look "$p" && [ "$parent" = "$watch" ]; then kill -KILL "$p"; fi
  done
  kill -KILL "$watch"
}
if [ -n "$limit" ]; then
  watchdog </dev/null >/dev/null 2>&1 &
  watch=$!
fi
ooms
before=$ooms
exec 3>&1 4>&2
result=$(
  exec 2>&1
  trap : HUP INT QUIT TERM
  (become "$@") >&3 2>&4 3>&- 4>&-
  printf ' %s' "$?"
)
code=\${result##* } told=0
[ -z "\${result% *}" ] || told=1
if [ -n "$watch" ]; then
  # Shells tell of jobs that were killed; the marks go to 3 and 4.
  exec 2>/dev/null
  if [ "$timed" = 1 ]; then wait "$watch"; else stop_watchdog; fi
fi
ooms
oom=0
[ "$ooms" = "$before" ] || oom=1
printf '\\001anyplace %s end %s %s %s %s\\002' "$nonce" "$code" "$told" "$timed" "$oom" >&4
printf '\\001anyplace %s end\\002' "$nonce" >&3
exit "$code"
`
