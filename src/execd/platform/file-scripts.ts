import { WHY_FUNCTION } from './command-script.ts'

/** Begins the line on stderr by which a script names the reason of its failure. */
export const FAILURE_PREFIX = 'anyplace-failure:'

const BEGIN = `
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
LC_ALL=C
export PATH LC_ALL
unset CDPATH
umask 022
fail() { echo "${FAILURE_PREFIX}$1" >&2; exit 40; }
${WHY_FUNCTION}
`

/** Parameters: path, offset, length or nothing for all. */
export const READ_SCRIPT = `${BEGIN}
if [ -d "$1" ]; then fail is-a-directory; fi
[ -e "$1" ] || fail "$(why "$1")"
if [ -p "$1" ] || [ -S "$1" ]; then fail not-a-file; fi
exec <"$1" || exit 1
skip() { [ "$2" = 0 ] || dd bs="$1" skip="$2" count=0 2>/dev/null; }
copy() { [ "$2" = 0 ] || dd bs="$1" count="$2" 2>/dev/null; }
if [ "$2" != 0 ]; then
  size=$(stat -L -c %s "$1") || exit 1
  if [ "$size" -gt 0 ] && [ "$2" -ge "$size" ]; then exit 0; fi
  skip 65536 $(($2 / 65536))
  skip 1 $(($2 % 65536))
fi
if [ -z "$3" ]; then exec cat; fi
copy 65536 $(($3 / 65536))
rest=$(($3 % 65536))
[ "$rest" = 0 ] || copy "$rest" 1
exit 0
`

/**
 * Parameters: path, octal mode or nothing, seal. Content on stdin with the seal behind it: without the seal the sender
 * broke off, and the old file stays.
 */
export const WRITE_SCRIPT = `${BEGIN}
path=$1
case $path in */) fail is-a-directory ;; esac
if [ -d "$path" ]; then fail is-a-directory; fi
if [ -L "$path" ]; then
  path=$(readlink -f -- "$path" && echo x) || fail file-not-found
  path=\${path%?x}
fi
parent=\${path%/*}/
mkdir -p "$parent" || exit 1
temporary=$parent.anyplace-$3
trap 'rm -f "$temporary"' EXIT
(umask 077 && set -C && : >"$temporary") || exit 1
cat >"$temporary" || exit 1
size=$(stat -c %s "$temporary") || exit 1
if [ "$(tail -c \${#3} "$temporary" | tr -d '\\000')" != "$3" ]; then fail cut-off; fi
dd if=/dev/null of="$temporary" bs=1 seek=$((size - \${#3})) 2>/dev/null || exit 1
if [ -n "$2" ]; then mode=$2
elif [ -e "$path" ]; then mode=$(stat -c %a "$path")
else mode=644; fi
chmod "$mode" "$temporary" || exit 1
dd if=/dev/null of="$temporary" conv=notrunc,fsync 2>/dev/null || sync
mv -f "$temporary" "$path" || exit 1
`

/**
 * Describes its parameters: a line of facts for each, NUL; then for each its name, NUL, where it points (nothing when it
 * is no link), NUL. What has vanished is left out.
 */
const DESCRIBE = `
tell() {
  printf '%s\\000' "$facts"
  for name; do
    printf '%s\\000' "$name"
    if [ -L "$name" ]; then
      target=$(readlink -- "$name"; echo x)
      printf '%s' "\${target%?x}"
    fi
    printf '\\000'
  done
}
if facts=$(stat -c '%f %s %u %g %Y %y' -- "$@" 2>/dev/null); then tell "$@"; exit; fi
for one; do
  if facts=$(stat -c '%f %s %u %g %Y %y' -- "$one" 2>/dev/null); then tell "$one"; fi
done
exit 0
`

/** Parameter: path. */
export const STAT_SCRIPT = `${BEGIN}
if [ -e "$1" ] || [ -L "$1" ]; then :; else fail "$(why "$1")"; fi
${DESCRIBE}`

/** Parameters: path, the depth to list or nothing for all, {@link DESCRIBE_SCRIPT}. */
export const LIST_SCRIPT = `${BEGIN}
[ -e "$1" ] || fail "$(why "$1")"
[ -d "$1" ] || fail not-a-directory
cd "$1" 2>/dev/null || fail permission-denied
[ -r . ] || fail permission-denied
command -v find >/dev/null || fail no-program:find
if [ -n "$2" ]; then
  find . -mindepth 1 -maxdepth "$2" -exec /bin/sh -c "$3" sh {} + 2>/dev/null
else
  find . -mindepth 1 -exec /bin/sh -c "$3" sh {} + 2>/dev/null
fi
printf '\\001'
exit 0
`
export const DESCRIBE_SCRIPT = `LC_ALL=C; export LC_ALL\n${DESCRIBE}`

/** Parameters: path, `recursive` or nothing, `force` or nothing. */
export const REMOVE_SCRIPT = `${BEGIN}
if [ -e "$1" ] || [ -L "$1" ]; then :; else
  reason=$(why "$1")
  if [ -n "$3" ] && [ "$reason" = file-not-found ]; then exit 0; fi
  fail "$reason"
fi
if [ -d "$1" ] && [ ! -L "$1" ]; then
  if [ -n "$2" ]; then exec rm -rf "$1"; fi
  exec rmdir "$1"
fi
exec rm -f "$1"
`

/** Parameters: path, octal mode or nothing. */
export const MAKE_DIRECTORY_SCRIPT = `${BEGIN}
if [ -d "$1" ]; then exit 0; fi
mkdir -p "$1" || exit 1
if [ -n "$2" ]; then exec chmod "$2" "$1"; fi
`

/** Parameters: path, then patterns to leave out. Prints \`d\` or \`f\`, then a tar. */
export const PACK_SCRIPT = `${BEGIN}
command -v tar >/dev/null || fail no-program:tar
path=$1
shift
if [ -d "$path" ]; then
  cd "$path" 2>/dev/null || fail permission-denied
  [ -r . ] || fail permission-denied
  # The client leaves the same paths out; here it only saves their way, where tar knows how.
  case $(tar --help 2>&1) in
  *--exclude*)
    for pattern; do
      shift
      set -- "$@" "--exclude=$pattern"
    done
    ;;
  *) set -- ;;
  esac
  printf d
  exec tar -c -f - "$@" .
fi
[ -e "$path" ] || fail "$(why "$path")"
[ -f "$path" ] || fail not-a-file
parent=\${path%/*}/
cd "$parent" 2>/dev/null || fail permission-denied
printf f
exec tar -c -f - "./\${path##*/}"
`

/**
 * Parameters: path, \`file\` or \`directory\`, a fresh name, \`sync\` or nothing. A tar on stdin. It is unpacked beside its
 * place and then moved in, so no link that was there is followed.
 */
export const UNPACK_SCRIPT = `${BEGIN}
command -v tar >/dev/null || fail no-program:tar
EXTRACT_UNSAFE_SYMLINKS=1
export EXTRACT_UNSAFE_SYMLINKS
target=$1
while :; do case $target in ?*/) target=\${target%/} ;; *) break ;; esac; done
parent=\${target%/*}/
[ "$target" != / ] || target=/.
above=$parent
if [ "$2" = directory ] && [ -d "$target" ]; then above=$target/; fi
if [ "$2" = file ] && [ -d "$target" ]; then fail is-a-directory; fi
if [ "$2" = directory ] && [ -e "$target" ] && [ ! -d "$target" ]; then fail not-a-directory; fi
mkdir -p "$above" || exit 1
temporary=$above.anyplace-$3
trap 'rm -rf "$temporary"' EXIT
mkdir -m 700 "$temporary" || exit 1
cd "$temporary" || exit 1
tar -x -p -o -f - || exit 1
in_the_way() { echo "$1 is in the way" >&2; fail unsafe-archive; }
flush() {
  prefix=$1
  shift
  [ "$#" = 0 ] || mv -f "$@" "$target/$prefix" || exit 1
}
merge() {
  for entry in "$temporary/$1"* "$temporary/$1".[!.]* "$temporary/$1"..?*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then :; else continue; fi
    name=\${entry#"$temporary/"}
    there=$target/$name
    if [ -d "$entry" ] && [ ! -L "$entry" ]; then
      if [ -L "$there" ]; then in_the_way "$name"
      elif [ -d "$there" ]; then merge "$name/"
      elif [ -e "$there" ]; then in_the_way "$name"
      else mv "$entry" "$there" || exit 1; fi
    else
      if [ -L "$there" ]; then rm -f "$there" || exit 1
      elif [ -d "$there" ]; then fail is-a-directory; fi
      set -- "$@" "$entry"
      if [ "$#" -gt 500 ]; then
        flush "$@"
        set -- "$1"
      fi
    fi
  done
  flush "$@"
  if [ -n "$1" ]; then chmod "$(stat -c %a "$temporary/\${1%/}")" "$target/\${1%/}"; fi
}
if [ "$2" = file ]; then
  for entry in "$temporary"/* "$temporary"/.[!.]* "$temporary"/..?*; do
    if [ -e "$entry" ] || [ -L "$entry" ]; then mv -f "$entry" "$target" || exit 1; fi
  done
elif [ -d "$target" ]; then
  merge ''
else
  chmod 755 "$temporary"
  mv "$temporary" "$target" || exit 1
fi
if [ -n "$4" ]; then sync; fi
exit 0
`
