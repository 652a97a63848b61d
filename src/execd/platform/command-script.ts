import { quoteShell } from '../../kit/quote.ts'
import { DECODE_PARAMETERS } from './parameters.ts'
import { MARKER_VARIABLE, TREE_FUNCTIONS } from './tree-script.ts'

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
 * Becomes the command. Parameters: nonce, cwd, the command's PATH, how many assignments, assignments, argv.
 * It says its numbers on stderr before it becomes the command: pid, waiting shell, its start time, own session or 0.
 */
const LAUNCH = `
nonce=$1 directory=$2 search=$3 count=$4
shift 4
${TREE_FUNCTIONS}
${WHY_FUNCTION}
say() { printf '\\001anyplace %s %s\\002' "$nonce" "$*" >&2; }
{ echo 800 >/proc/self/oom_score_adj; } 2>/dev/null
if ! cd "$directory" 2>/dev/null; then
  if [ -e "$directory" ] && [ ! -d "$directory" ]; then say 'cwd not-a-directory'; else say "cwd $(why "$directory")"; fi
  exit 125
fi
index=0
for command; do
  index=$((index + 1))
  [ "$index" -le "$count" ] || break
done
chief=0 began=0
if look $$; then [ "$session" != $$ ] || chief=$$; fi
if look "$PPID"; then began=$started; fi
say "start $$ $PPID $began $chief"
refuse() { printf '%s: %s\\n' "$command" "$2" >&2; exit "$1"; }
judge() {
  if [ -d "$1" ]; then refuse 126 'Is a directory'; fi
  if [ ! -x "$1" ]; then refuse 126 'Permission denied'; fi
}
case $command in
'') refuse 127 'command not found' ;;
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
case $command in
*=*)
  # env would take such a command for an assignment, so a shell starts it.
  index=0
  for word; do
    if [ "$index" = 0 ]; then set --; fi
    if [ "$index" = "$count" ]; then set -- "$@" /bin/sh -c 'unset PWD OLDPWD SHLVL _; exec "$@"' sh; fi
    index=$((index + 1))
    set -- "$@" "$word"
  done
  ;;
esac
exec env -i "$@"
`

/**
 * Runs one command and tells its end. Parameters after decoding: nonce, id, deadline in seconds or nothing, a short sleep,
 * `pipe` or `none` for stdin, cwd, the command's PATH, how many assignments, assignments, argv.
 *
 * Both outputs end with a mark that holds the nonce: whatever a background child writes later is no part of them, and a
 * missing mark proves a lost tail. The shell that waits says "Killed" and the like for a signal, which tells `kill -9`
 * from `exit 137`; only dash and ash say so, and not for SIGINT and SIGPIPE.
 */
export const COMMAND_SCRIPT = `
${DECODE_PARAMETERS}
nonce=$1 id=$2 limit=$3 nap=$4 input=$5
shift 5
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
unset CDPATH IFS
export PATH LC_ALL
[ "$input" = pipe ] || exec </dev/null
timed=0 watch=
trap : HUP INT QUIT TERM
trap 'timed=1' USR1
launch=${quoteShell(LAUNCH)}
${TREE_FUNCTIONS}
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
  trap 'kill "$!" 2>/dev/null; exit 0' TERM
  sleep "$limit" &
  wait "$!" || exit 0
  trap '' TERM
  kill -USR1 $$
  { read -r me line; } </proc/self/stat
  spare="$me $$" root= chief= shell=
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
start() {
  if command -v setsid >/dev/null 2>&1; then exec setsid /bin/sh -c "$launch" anyplace "$nonce" "$@"; fi
  exec /bin/sh -c "$launch" anyplace "$nonce" "$@"
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
  (start "$@") >&3 2>&4 3>&- 4>&-
  printf ' %s' "$?"
)
code=\${result##* } told=0
[ -z "\${result% *}" ] || told=1
if [ -n "$watch" ]; then
  if [ "$timed" = 1 ]; then wait "$watch"; else kill -TERM "$watch" 2>/dev/null; fi
fi
ooms
oom=0
[ "$ooms" = "$before" ] || oom=1
printf '\\001anyplace %s end %s %s %s %s\\002' "$nonce" "$code" "$told" "$timed" "$oom" >&4
printf '\\001anyplace %s end\\002' "$nonce" >&3
exit "$code"
`
