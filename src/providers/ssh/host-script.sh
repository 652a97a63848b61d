# The beginning of a session on a host, in front of the daemon or alone. `workspace` is set in front of it. POSIX sh; few
# programs, since each costs a process. Prints facts, each ended by NUL, after a mark that no login message holds.
say() { printf '%s\000' "$@"; }
umask 022

case $workspace in
  '~') directory=${HOME:-/} ;;
  '~/'*) directory=${HOME:-}/${workspace#??} ;;
  /*) directory=$workspace ;;
  *) directory=${HOME:-}/$workspace ;;
esac
fault=
if [ ! -d "$directory" ]; then
  fault=$( (umask 077 && mkdir -p -- "$directory") 2>&1 >/dev/null) || fault=${fault:-mkdir failed}
fi
if [ -z "$fault" ]; then
  if ! cd -- "$directory" 2>/dev/null; then fault='Permission denied'
  elif [ ! -w . ] || [ ! -x . ]; then fault='Permission denied: it cannot be written'
  else directory=$(pwd -P); fi
fi

# The newest Python by its file's name, which tells the version without being started.
python= newest=8
IFS=:
for place in ${PATH:-/usr/local/bin:/usr/bin:/bin}; do
  for file in "$place"/python3.[0-9] "$place"/python3.[0-9][0-9]; do
    minor=${file##*.}
    if [ -x "$file" ] && [ "$minor" -gt "$newest" ]; then python=$file newest=$minor; fi
  done
done
if [ -z "$python" ]; then
  for place in ${PATH:-/usr/local/bin:/usr/bin:/bin}; do
    if [ -z "$python" ] && [ -x "$place/python3" ] &&
      "$place/python3" -I -S -c 'import sys, ctypes; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1; then
      python=$place/python3
    fi
  done
fi
unset IFS

boot=
if [ -r /proc/sys/kernel/random/boot_id ]; then read -r boot </proc/sys/kernel/random/boot_id
else boot=booted-$(sysctl -n kern.boottime 2>/dev/null | tr -cd 0-9); fi
memory=0
if [ -r /proc/meminfo ]; then
  while read -r name value rest; do
    if [ "$name" = MemTotal: ]; then memory=$((value / 1024)); break; fi
  done </proc/meminfo
else memory=$(($(sysctl -n hw.memsize 2>/dev/null || echo 0) / 1048576)); fi
mounts=
if [ -r /proc/self/mountinfo ]; then
  while read -r id parent device root point rest; do
    case $point in
      / | /etc/hosts | /etc/hostname | /run/secrets/* | /var/run/secrets/*)
        mounts="$mounts$id $parent $device $root $point $rest
" ;;
    esac
  done </proc/self/mountinfo
fi
groups=
if [ -r /proc/1/cgroup ]; then
  while read -r line; do groups="$groups$line
"; done </proc/1/cgroup
fi
nspawn=
if [ -r /run/systemd/container ]; then read -r nspawn </run/systemd/container; fi
docker=0 podman=0
if [ -e /.dockerenv ]; then docker=1; fi
if [ -e /run/.containerenv ]; then podman=1; fi
gpus=
for file in /proc/driver/nvidia/gpus/*/information; do
  if [ -r "$file" ]; then
    while IFS=: read -r name value; do
      if [ "$name" = Model ]; then gpus="$gpus$value
"; fi
    done <"$file"
  fi
done
if [ -z "$gpus" ]; then
  for file in /dev/nvidia[0-9] /dev/nvidia[0-9][0-9]; do
    if [ -e "$file" ]; then gpus="$gpus$file
"; fi
  done
fi

# What systemd-logind does with processes of a user who has gone: the last setting counts, a commented one is the default.
kills=no scope=
if [ -d /run/systemd/system ]; then
  for file in /usr/lib/systemd/logind.conf /etc/systemd/logind.conf /usr/lib/systemd/logind.conf.d/*.conf \
    /run/systemd/logind.conf.d/*.conf /etc/systemd/logind.conf.d/*.conf; do
    if [ -r "$file" ]; then
      while read -r line; do
        case $line in
          KillUserProcesses=[yY1tT]*) kills=yes ;;
          KillUserProcesses=*) kills=no ;;
          '#KillUserProcesses='[yY1tT]*) case $file in */logind.conf) kills=yes ;; esac ;;
        esac
      done <"$file"
    fi
  done
fi
uid=$(id -u) gid=$(id -g)
if [ "$uid" = 0 ]; then kills=no; fi # logind spares root
if [ $kills = yes ]; then
  user=$(id -un)
  runtime=${XDG_RUNTIME_DIR:-/run/user/$uid}
  if [ -e "/var/lib/systemd/linger/$user" ] && [ -S "$runtime/systemd/private" ] && command -v systemd-run >/dev/null; then
    scope=yes
  fi
fi
durable=1
if [ $kills = yes ] && [ -z "$scope" ]; then durable=0; fi

printf '\001anyplace-host\001'
say "$fault" "$directory" "${HOME:-/}" "$uid" "$gid" "$(uname -s)" "$(uname -m)" "$(uname -n)" "$boot" \
  "$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)" "$memory" "$python" "$durable" \
  "$groups" "$mounts" "$nspawn" "$docker" "$podman" "${container:-}" "${KUBERNETES_SERVICE_HOST:-}" "$gpus" \
  "${DOCKER_HOST:-}" "${DOCKER_CONTEXT:-}" "${DOCKER_CONFIG:-}" "${CONTAINER_HOST:-}" "${XDG_RUNTIME_DIR:-}"

# start WORD… : becomes the Python program that the words say
start() {
  if [ -n "$fault" ] || [ -z "$python" ]; then exit 0; fi
  if [ -n "$scope" ]; then
    XDG_RUNTIME_DIR=$runtime exec systemd-run --user --scope --quiet --collect -- "$python" "$@"
  fi
  exec "$python" "$@"
}
