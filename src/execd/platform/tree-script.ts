/** Every process of one command carries this variable with the command's id, so that orphans are found by it. */
export const MARKER_VARIABLE = 'ANYPLACE_PROCESS'

/**
 * Shell functions that find and kill everything below one command, also when no process can be started.
 *
 * A process belongs to the command when its parent is `$root` (the shell that waits for the command) or belongs, when its
 * session is `$chief`, or when its first environment holds the marker with `$id`. Processes in `$spare` never belong.
 * What has left the session, lost its parent and cleared its environment is not found: the level is best-effort.
 *
 * With `$own` the command was started in a session of its own. Then no stranger is in a group with any process of it, and
 * the whole group is stopped with one signal, which no fork escapes.
 *
 * A walk is slow, because shells read byte by byte: what forks all the time is gone before its turn comes. So a walk that
 * found nothing is followed by sweeps, one grep over all environments, which see most of a storm at once; a few of them,
 * because a fork can slip through one. A sweep needs a process: when none can be started the shell ends there, and what the
 * walk said stands. Within one round a stranger is looked at once, and again only when its parent turned out to belong.
 */
export const TREE_FUNCTIONS = `
look() {
  line= text=
  { while IFS= read -r line || [ -n "$line" ]; do text="$text $line"; line=; done <"/proc/$1/stat"; } 2>/dev/null || return 1
  text=\${text##*) }
  [ -n "$text" ] || return 1
  set -- $text
  state=$1 parent=$2 group=$3 session=$4 started=\${20}
}
marked() {
  line=
  { while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"${MARKER_VARIABLE}=$id"*) return 0 ;; esac
    line=
  done <"/proc/$1/environ"; } 2>/dev/null
  return 1
}
stop_new() {
  fresh=0
  for p in /proc/[0-9]*; do
    p=\${p#/proc/}
    case " $found $spare " in *" $p "*) continue ;; esac
    eval "known=\\\${_anyplace_$p:-}"
    case $known in "$round:"*)
      case " $root $found " in *" \${known#*:} "*) ;; *) continue ;; esac
    esac
    look "$p" || continue
    case $state in Z | X | x) continue ;; esac
    ours=
    case " $root $found " in *" $parent "*) ours=1 ;; esac
    if [ -z "$ours" ] && [ -n "$chief" ] && [ "$session" = "$chief" ]; then ours=1; fi
    if [ -z "$ours" ] && marked "$p"; then ours=1; fi
    if [ -z "$ours" ]; then
      eval "_anyplace_$p=$round:$parent"
      continue
    fi
    halt "$p"
  done
}
halt() {
  # What is stopped keeps its number until we kill it: nobody else gets our signal.
  kill -STOP "$1" 2>/dev/null || return 0
  found="$found $1"
  fresh=$((fresh + 1))
  [ -n "$own" ] || return 0
  case " $groups " in *" $group "*) return 0 ;; esac
  kill -STOP -"$group" 2>/dev/null
  groups="$groups $group"
}
sweep() {
  fresh=0
  for p in $(grep -ls "${MARKER_VARIABLE}=$id" /proc/[0-9]*/environ 2>/dev/null); do
    p=\${p#/proc/}
    p=\${p%/environ}
    case " $root $found $spare " in *" $p "*) continue ;; esac
    look "$p" || continue
    case $state in Z | X | x) continue ;; esac
    halt "$p"
  done
}
kill_tree() {
  round=0 storm=
  while [ "$round" -lt 200 ]; do
    found= groups= walk=0
    while [ "$walk" -lt 200 ]; do
      if [ -n "$storm" ]; then sweep; fi
      stop_new
      [ "$fresh" -gt 0 ] || break
      walk=$((walk + 1))
    done
    if [ -z "$found" ]; then
      trap 'exit 0' EXIT
      for clean in 1 2 3 4; do
        sweep
        [ "$fresh" = 0 ] || break
      done
      trap - EXIT
      [ -n "$found" ] || return 0
      storm=1
    fi
    for p in $found; do kill -KILL "$p" 2>/dev/null; done
    for p in $groups; do kill -KILL -"$p" 2>/dev/null; done
    round=$((round + 1))
    if [ "$round" -gt 3 ] && [ -z "$storm" ]; then sleep "$nap" 2>/dev/null; fi
  done
  return 1
}
`

/** Parameters: id, waiting shell's pid, its start time, session (0: none of its own), a short sleep. Exits 1 when something survives. */
export const KILL_SCRIPT = `
id=$1 root=$2 chief=$4 nap=$5 spare=$$
[ "$chief" != 0 ] || chief=
own=$chief
if look "$root" && [ "$started" = "$3" ]; then :; else
  root=
  # The waiting shell has gone, so a process with the session's number is a stranger that took it.
  if [ -n "$chief" ] && [ -d "/proc/$chief" ]; then chief=; fi
fi
[ -r "/proc/$$/stat" ] || exit 3
kill_tree
`

/**
 * Parameters: signal, pid of the command, waiting shell's pid, its start time, session (0: none of its own), pids to spare.
 * Exits 4 when the command has gone.
 */
export const SIGNAL_SCRIPT = `
name=$1 pid=$2 root=$3 chief=$5
if look "$root" && [ "$started" = "$4" ] && look "$pid" && [ "$parent" = "$root" ]; then :; else exit 4; fi
if [ "$chief" != 0 ]; then kill -"$name" -"$chief"; exit; fi
shift 5
spare="$* $root $$" wanted=$group
for p in /proc/[0-9]*; do
  p=\${p#/proc/}
  case " $spare " in *" $p "*) continue ;; esac
  look "$p" || continue
  case " $spare " in *" $parent "*) [ "$parent" = "$root" ] || continue ;; esac
  if [ "$group" = "$wanted" ]; then kill -"$name" "$p" 2>/dev/null; fi
done
exit 0
`
