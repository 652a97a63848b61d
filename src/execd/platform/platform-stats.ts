import { AnyplaceError } from '../../spec/index.ts'
import type { CallOptions, Stats } from '../../spec/index.ts'
import { utf8Lossy } from '../../kit/text-bytes.ts'
import { DECODE_PARAMETERS } from './parameters.ts'
import type { Place } from './place.ts'

/** More than this is the kernel's way to say "no limit". */
const NO_LIMIT_BYTES = 2 ** 60

const SCRIPT = `
${DECODE_PARAMETERS}
PATH=$PATH:/usr/bin:/bin
LC_ALL=C
export LC_ALL
tell() { if [ -r "$2" ] && read -r value <"$2"; then echo "$1 $value"; fi; }
group=/sys/fs/cgroup
if [ -r $group/memory.current ]; then
  tell memory $group/memory.current
  tell limit $group/memory.max
  while read -r name value; do [ "$name" != usage_usec ] || echo "microseconds $value"; done <$group/cpu.stat
else
  tell memory $group/memory/memory.usage_in_bytes
  tell limit $group/memory/memory.limit_in_bytes
  tell nanoseconds $group/cpuacct/cpuacct.usage
  tell nanoseconds $group/cpu,cpuacct/cpuacct.usage
fi
count=0
if [ -n "$ANYPLACE_SANDBOX" ]; then
  # The place is a whole machine: what is ours carries the mark. This shell and the two of the pipe do too.
  count=$(($(grep -lszxF "ANYPLACE_SANDBOX=$ANYPLACE_SANDBOX" /proc/[0-9]*/environ 2>/dev/null | wc -l) - 3))
  [ "$count" -ge 0 ] || count=0
else
  for process in /proc/[0-9]*; do
    [ "$process" = "/proc/$$" ] || count=$((count + 1))
  done
fi
echo "processes $count"
df -P -k "$1" | while read -r device size used rest; do echo "disk $size $used"; done
`

/** What the place uses, from its cgroup's files and /proc. Memory and cpu are 0 where the place cannot read its cgroup. */
export async function readStats(
  place: Place,
  options: CallOptions & { readonly user?: string | undefined },
): Promise<Stats> {
  const { exitCode, stdout, stderr } = await place.ask(SCRIPT, [place.workdir], options)
  const facts = new Map<string, readonly number[]>()
  for (const line of utf8Lossy(stdout).split('\n')) {
    const [name = '', ...numbers] = line.split(' ')
    if (numbers.length > 0 && numbers.every((number) => /^\d+$/.test(number))) facts.set(name, numbers.map(Number))
  }
  const disk = facts.get('disk')
  if (exitCode !== 0 || disk === undefined) {
    throw new AnyplaceError(
      'internal',
      `Cannot read the place's numbers: ${stderr.slice(0, 300) || 'df told nothing'}.`,
    )
  }
  const first = (name: string): number => facts.get(name)?.[0] ?? 0
  const limit = first('limit')
  return {
    cpuSeconds: first('microseconds') / 1e6 + first('nanoseconds') / 1e9,
    memoryBytes: first('memory'),
    ...(limit > 0 && limit < NO_LIMIT_BYTES ? { memoryLimitBytes: limit } : {}),
    processes: first('processes'),
    diskTotalBytes: (disk[0] ?? 0) * 1024,
    diskUsedBytes: (disk[1] ?? 0) * 1024,
  }
}
