/**
 * What a machine is, told by the machine: one text for any POSIX shell (dash, busybox, macOS). Parameters: a mark that
 * begins every line of ours, the workspace, and the seconds that any one tool may take (empty: each has its own limit).
 *
 * It prints sections, `@MARK NAME` and the raw answers of the machine below it; nothing is interpreted here. Each section
 * is one write, so those of several processes at once do not mix. Whatever may hang (drivers, daemons, dead mounts) runs
 * under `bounded`: the script goes on without it, even when the kernel does not let it be killed.
 */
export const PROBE_SCRIPT = `
mark=$1 workspace=$2 patience=$3
LC_ALL=C LANG=C
export LC_ALL LANG
PATH="\${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin:/snap/bin"
PATH="$PATH:$HOME/.local/bin:/usr/local/cuda/bin:/usr/lib/wsl/lib:/opt/conda/bin:$HOME/miniconda3/bin:$HOME/anaconda3/bin"
export PATH

# As one string: bash flushes at each newline of a format, and others would write in between.
section() {
  printf '%s' "
@$mark $1
$2
"
}
has() { command -v "$1" >/dev/null 2>&1; }

# SECONDS COMMAND...: its output, then a line with its exit code or "timeout".
bounded() {
  limit=\${patience:-$1}
  shift
  {
    {
      "$@" </dev/null 2>&1 &
      tool=$!
      trap 'kill -9 "$tool"; exit' TERM
      wait "$tool"
      printf '\\n@%s code %s\\n' "$mark" "$?"
    } 2>/dev/null &
    job=$!
    {
      trap 'kill "$nap"; exit' TERM
      sleep "$limit" &
      nap=$!
      wait "$nap"
      printf '\\n@%s code timeout\\n' "$mark"
      kill "$job"
    } </dev/null 2>/dev/null &
    watch=$!
    wait "$job"
    kill "$watch"
  } 2>/dev/null | sed -e "/^@$mark code /q"
}

tell_cpu() {
  # The first stanza is enough: on a machine with hundreds of cores the whole file is slow to make.
  sed -n -e '/^model name[^:]*: */{s///p;q;}' /proc/cpuinfo || sysctl -n machdep.cpu.brand_string
}

tell_model() {
  has lscpu && lscpu | sed -n -e 's/^Model name: */lscpu /p'
  [ -r /proc/device-tree/model ] && { printf 'board '; tr -d '\\000' </proc/device-tree/model; }
}

tell_cores() { nproc || getconf _NPROCESSORS_ONLN || sysctl -n hw.ncpu; }

tell_limits() {
  if [ -r /sys/fs/cgroup/cpu.max ]; then
    read -r quota period </sys/fs/cgroup/cpu.max && printf 'cpu %s %s\\n' "$quota" "$period"
  elif [ -r /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then
    read -r quota </sys/fs/cgroup/cpu/cpu.cfs_quota_us
    read -r period </sys/fs/cgroup/cpu/cpu.cfs_period_us
    printf 'cpu %s %s\\n' "$quota" "$period"
  fi
  for file in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
    [ -r "$file" ] && read -r limit <"$file" && printf 'memory %s\\n' "$limit"
  done
}

tell_memory() {
  sed -n -e '/^MemTotal:/p' -e '/^MemAvailable:/p' -e '/^MemFree:/p' -e '/^Buffers:/p' -e '/^Cached:/p' /proc/meminfo && return
  printf 'hw.memsize: '
  sysctl -n hw.memsize
  vm_stat
}

tell_disk() {
  case $workspace in
    '~' | '') workspace=$HOME ;;
    '~/'*) workspace=$HOME/\${workspace#'~/'} ;;
    /*) ;;
    *) workspace=$HOME/$workspace ;;
  esac
  # Before the first sandbox the workspace is not there: then the directory that will hold it.
  while [ ! -d "$workspace" ]; do
    case $workspace in
      /*/*) workspace=\${workspace%/*} ;;
      *) workspace=/ ;;
    esac
  done
  printf 'path %s\\n' "$workspace"
  df -P -k "$workspace"
}

# NAME PATH WORDS...: the first line that it prints about its version.
tell_version() {
  name=$1 program=$2
  shift 2
  answer=$("$program" "$@" 2>&1)
  printf '%s|%s|%s\\n' "$name" "$program" "\${answer%%
*}"
}

tell_pythons() {
  old=$IFS
  IFS=:
  set -- $PATH
  IFS=$old
  known= count=0
  for folder in "$@" "$HOME"/.pyenv/versions/*/bin "$HOME"/.local/share/uv/python/*/bin "$HOME"/*conda3/envs/*/bin /opt/conda/envs/*/bin; do
    case $folder in */shims) continue ;; esac
    for python in "$folder"/python3 "$folder"/python3.[0-9] "$folder"/python3.[0-9][0-9] "$folder"/python; do
      [ -f "$python" ] && [ -x "$python" ] || continue
      # Without Apple's tools this one opens a window that asks to install them.
      [ "$python" = /usr/bin/python3 ] && [ "$kernel" = Darwin ] && ! xcode-select -p >/dev/null && continue
      IFS=:
      for other in $known; do [ "$python" -ef "$other" ] && break; other=; done
      IFS=$old
      [ -n "$known" ] && [ -n "$other" ] && continue
      known=$known$python:
      count=$((count + 1))
      [ "$count" -le 24 ] || return
      # Installers name the folder by the version, which saves the start of an interpreter.
      case $folder in
        */versions/[23].[0-9]*.[0-9]*/bin) name=\${folder%/bin} && printf 'python|%s|Python %s\\n' "$python" "\${name##*/}" ;;
        *) tell_version python "$python" -V ;;
      esac
    done
  done
}

tell_versions() {
  has ssh && tell_version ssh "$(command -v ssh)" -V
  has rsync && tell_version rsync "$(command -v rsync)" --version
  has node && tell_version node "$(command -v node)" --version
  for node in "$HOME"/.nvm/versions/node/v*/bin/node "$HOME"/.local/share/fnm/node-versions/v*/installation/bin/node; do
    [ -x "$node" ] || continue
    version=\${node%/bin/node}
    version=\${version%/installation}
    printf 'node|%s|%s\\n' "$node" "\${version##*/}"
  done
  for program in apptainer singularity nvidia-ctk; do
    has "$program" && tell_version "$program" "$(command -v "$program")" --version
  done
}

keep_gpu_facts() {
  sed -n -e '/ : /!{p;b' -e '}' -e '/Driver Version  /p' -e '/CUDA Version  /p' -e '/Attached GPUs  /p' -e '/Product Name  /p' \\
    -e '/UUID  /p' -e '/Current  /p' -e '/ Index  /p' -e '/Instance ID  /p' -e '/Total  /p' -e '/Used  /p' -e '/Free  /p' \\
    -e '/ G[pP][uU]  /p' -e '/Minor Number  /p'
}

tell_gpus() {
  if has nvidia-smi; then
    answer=$(bounded 10 nvidia-smi -q)
    section nvidia "$(printf '%s\\n' "$answer" | keep_gpu_facts)"
    case $answer in *'MIG Device'*) section nvidia-list "$(bounded 5 nvidia-smi -L)" ;; esac
  fi
  [ -r /proc/driver/nvidia/version ] && section nvidia-driver "$(sed -n 1p /proc/driver/nvidia/version)"
  section toolkits "$(
    for folder in /usr/local/cuda-[0-9]*; do [ -d "$folder" ] && printf '%s\\n' "\${folder##*/}"; done
    has nvcc && nvcc --version | sed -n -e '/release/p'
  )"
  for device in /sys/bus/pci/devices/*; do
    read -r class 2>/dev/null <"$device/class" || continue
    case $class in 0x0300* | 0x0302* | 0x1200*) ;; *) continue ;; esac
    read -r vendor <"$device/vendor"
    read -r model <"$device/device"
    total= used= busy= name=
    if [ -r "$device/mem_info_vram_total" ]; then
      read -r total <"$device/mem_info_vram_total"
      read -r used <"$device/mem_info_vram_used"
      read -r busy <"$device/gpu_busy_percent"
      [ -r "$device/product_name" ] && read -r name <"$device/product_name"
    fi
    section pci "$vendor|$model|$total|$used|$busy|$name"
  done 2>/dev/null
  [ "$kernel" = Darwin ] && section displays "$(bounded 8 system_profiler SPDisplaysDataType)"
}

section hello 1
HOME=\${HOME:-/}
export HOME
names=$(uname -srm)
kernel=\${names%% *}
tell_gpus 2>/dev/null | {
  { section disk "$(bounded 5 tell_disk)"; } </dev/null 2>/dev/null &
  { section pythons "$(bounded 6 tell_pythons)"; } </dev/null 2>/dev/null &
  { section versions "$(bounded 6 tell_versions)"; } </dev/null 2>/dev/null &
  if has docker; then
    { section docker "$(bounded 5 docker version --format '{{.Client.Version}}|{{.Server.Version}}')"; } </dev/null 2>/dev/null &
  fi
  if has podman; then
    { section podman "$(bounded 5 podman --version)"; } </dev/null 2>/dev/null &
  fi
  {
    section system "$names"
    if [ "$kernel" = Darwin ]; then
      section macos "$(sw_vers)"
    else
      for file in /etc/os-release /usr/lib/os-release; do
        [ -r "$file" ] && section release "$(dd bs=3000 count=1 <"$file")" && break
      done
    fi
    model=$(tell_cpu)
    section cpu "$model"
    [ -n "$model" ] || section model "$(tell_model)"
    section cores "$(tell_cores)"
    section limits "$(tell_limits)"
    section memory "$(tell_memory)"
  } 2>/dev/null
  wait
  cat
}
section end 1
`
