# Sandboxes of a host without Python. `state`, and what a verb needs, are set in front of it; the verb follows.
umask 077
sandboxes=$state/sandboxes names=$state/names
say() { printf '%s\000' "$@"; }

# holds FILE TEXT : also where the text stands between NULs, which some greps take for the end
holds() {
  line=
  { while IFS= read -r line || [ -n "$line" ]; do
    case $line in *"$2"*) return 0 ;; esac
    line=
  done <"$1"; } 2>/dev/null
  return 1
}

# marked : the environments that carry the sandbox's mark
marked() {
  if printf 'x\000yes' | grep -qzxF yes 2>/dev/null; then
    grep -lszxF "ANYPLACE_SANDBOX=$id" /proc/[0-9]*/environ 2>/dev/null
  else
    for file in /proc/[0-9]*/environ; do
      if holds "$file" "ANYPLACE_SANDBOX=$id"; then echo "$file"; fi
    done
  fi
}

# theirs : pids of what carries the mark, works in the sandbox's directory, or descends from such a process
theirs() {
  pids=
  for file in $(marked); do
    pid=${file#/proc/}
    pids="$pids ${pid%%/*}"
  done
  cwds=$(ls -l /proc/[0-9]*/cwd 2>/dev/null)
  stats=$(cat /proc/[0-9]*/stat 2>/dev/null)
  set -f
  IFS='
'
  for line in $cwds; do
    case $line in
      *"/cwd -> $sandboxes/$id" | *"/cwd -> $sandboxes/$id/"* | *"/cwd -> $sandboxes/.removing-$id"*)
        pid=${line#*/proc/}
        pids="$pids ${pid%%/*}"
        ;;
    esac
  done
  before=
  while [ "$before" != "$pids" ]; do
    before=$pids
    for line in $stats; do
      pid=${line%% *} rest=${line##*) }
      rest=${rest#* }
      case " $pids " in
        *" $pid "*) ;;
        *" ${rest%% *} "*) pids="$pids $pid" ;;
      esac
    done
  done
  unset IFS
  set +f
  others=
  for pid in $pids; do
    if [ "$pid" != $$ ]; then others="$others $pid"; fi
  done
  echo "$others"
}

# remove : ends everything of the sandbox, then removes all of it. Stopped first: what is stopped cannot
# fork away from the next look.
remove() {
  rm -f -- "$sandboxes/$id/enter.sh" # from here on nothing is started in it
  watch=
  if [ -r "$sandboxes/$id/watch" ]; then read -r watch <"$sandboxes/$id/watch"; fi
  if [ -n "$watch" ] && [ "$watch" != $$ ] && holds "/proc/$watch/cmdline" "$id"; then
    kill -s KILL -- "-$watch" 2>/dev/null
  fi
  round=0
  while [ $round -lt 50 ]; do
    round=$((round + 1)) pids=$(theirs)
    if [ -z "$pids" ]; then break; fi
    kill -s STOP $pids 2>/dev/null
    more=$(theirs)
    kill -s KILL $pids $more 2>/dev/null
  done
  held=
  if [ -r "$sandboxes/$id/name" ]; then read -r held <"$sandboxes/$id/name"; fi
  holder=
  if [ -n "$held" ] && [ -r "$names/$held" ]; then read -r holder <"$names/$held"; fi
  # Before the directory goes: without one the name is free for the next, and must not be taken from it.
  if [ "$holder" = "$id" ]; then rm -f -- "$names/$held"; fi
  aside=$sandboxes/.removing-$id
  mv -- "$sandboxes/$id" "$aside" 2>/dev/null
  # Somebody else may be removing it too, and some rm mind that.
  for round in 1 2 3; do
    rm -rf -- "$aside" 2>/dev/null
    if [ ! -e "$aside" ]; then return 0; fi
    chmod -R u+rwX -- "$aside" 2>/dev/null
  done
  rm -rf -- "$aside"
}

# take_name : gives the name to the sandbox, whose directory is there already. A link appears with what it says, or not at all.
take_name() {
  echo "$id" >"$sandboxes/$id/id"
  if ln -- "$sandboxes/$id/id" "$names/$name" 2>/dev/null; then return 0; fi
  holder=
  if [ -r "$names/$name" ]; then read -r holder <"$names/$name"; fi
  if [ -n "$holder" ] && [ -d "$sandboxes/$holder" ]; then return 1; fi
  # Left by one that is gone. Of all who see that, one moves it away.
  mv -- "$names/$name" "$sandboxes/$id/stale" 2>/dev/null || return 1
  moved=
  read -r moved <"$sandboxes/$id/stale"
  if [ "$moved" != "$holder" ]; then
    ln -- "$sandboxes/$id/stale" "$names/$name" 2>/dev/null # somebody had just taken it
    holder=$moved
    return 1
  fi
  ln -- "$sandboxes/$id/id" "$names/$name" 2>/dev/null
}

# make : name, seconds, record, workdir, must (a directory that has to be there), enter (a script that becomes the command), self (this text, with `remove`)
make() {
  if [ -n "$must" ] && [ ! -d "$must" ]; then
    say missing
    return
  fi
  mkdir -p -- "$sandboxes" "$names" || exit 1
  mkdir -- "$sandboxes/$id" "$sandboxes/$id/workspace" || exit 1
  if ! take_name; then
    rm -rf -- "${sandboxes:?}/$id"
    say conflict "$holder"
    return
  fi
  echo "$name" >"$sandboxes/$id/name"
  printf '%s' "$enter" >"$sandboxes/$id/enter.sh"
  printf '%s' "$record" >"$sandboxes/$id/sandbox.json.new"
  mv -- "$sandboxes/$id/sandbox.json.new" "$sandboxes/$id/sandbox.json"
  umask 022
  mkdir -p -- "$workdir" || { remove; exit 1; }
  # The lifetime holds without us: a process in a session of its own waits for the end.
  printf '%s' "$self" >"$sandboxes/$id/end.sh"
  # shellcheck disable=SC2016 # for the inner shell
  setsid /bin/sh -c 'trap "" HUP; cd /; while left=$(($2 - $(date +%s))) && [ "$left" -gt 0 ]; do sleep "$left"; done
    [ ! -r "$1/end.sh" ] || . "$1/end.sh"' watch "$sandboxes/$id" $(($(date +%s) + seconds)) </dev/null >/dev/null 2>&1 &
  echo $! >"$sandboxes/$id/watch"
  say made
}

# list : every record
list() {
  for file in "$sandboxes"/*/sandbox.json; do
    if [ -r "$file" ]; then say "$(cat -- "$file" 2>/dev/null)"; fi
  done
}
