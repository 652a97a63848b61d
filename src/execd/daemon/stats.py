"""What the sandbox uses now: from its cgroup where it can be read, else added up over its processes."""
import os

import trees

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
ROOT = "/sys/fs/cgroup"


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def collect(daemon):
    infrastructure = own(daemon)
    helpers = sum(resident(pid) for pid in infrastructure)
    if daemon.config["ownPidNamespace"]:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        pids = [pid for pid in pids if pid not in infrastructure]
    else:
        pids = []
        for keeper in tuple(daemon.pool.busy):
            if keeper.pid:
                pids.extend(trees.descendants(keeper.pid))
    stats = [stat for stat in map(trees.stat_of, pids) if stat is not None and stat[1] not in (b"Z", b"X")]
    cpu = sum(stat[3] for stat in stats) / TICK + children_ticks(infrastructure) / TICK
    result = {
        "cpuSeconds": round(cpu, 3),
        "memoryBytes": sum(resident(pid) for pid in pids),
        "processes": len(stats),
        "daemonMemoryBytes": helpers,
    }
    if daemon.config["ownPidNamespace"] and daemon.config["supervisor"] == "external":
        from_cgroup(result)
    disk = os.statvfs(daemon.config["workdir"])
    result["diskTotalBytes"] = disk.f_blocks * disk.f_frsize
    result["diskUsedBytes"] = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    return result


def own(daemon):
    pids = {os.getpid(), daemon.pool.zygote.pid}
    if os.getppid() > 0:
        pids.add(os.getppid())
    if daemon.config["ownPidNamespace"]:
        pids.add(1)
    pids.update(keeper.pid for keeper in daemon.pool.idle if keeper.pid)
    pids.update(keeper.pid for keeper in daemon.pool.busy if keeper.pid)
    if daemon.files is not None and daemon.files.pid:
        pids.add(daemon.files.pid)
        pids.update(trees.children_of(daemon.files.pid))
    for connection in daemon.connections:
        if connection.sock is None:  # its client is no process of the place
            continue
        import _socket

        peer = connection.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        pids.add(int.from_bytes(peer[:4], "little"))
    return pids


def resident(pid):
    """Its share of memory: pages that forks have in common are counted once, not once each."""
    for line in (read("/proc/%d/smaps_rollup" % pid) or "").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    text = read("/proc/%d/statm" % pid)  # of another user, or an older kernel
    words = text.split() if text else ()
    return (int(words[1]) - int(words[2])) * PAGE if len(words) > 2 else 0


def children_ticks(pids):
    """CPU of commands that have ended: their keepers reaped them."""
    total = 0
    for pid in pids:
        text = read("/proc/%d/stat" % pid)
        if text:
            rest = text[text.rfind(")") + 2 :].split()
            total += int(rest[13]) + int(rest[14])
    return total


def number(path):
    text = read(path)
    try:
        return int(text)
    except (TypeError, ValueError):
        return None


def from_cgroup(result):
    used = number(ROOT + "/memory.current")
    limit = number(ROOT + "/memory.max")
    if used is None:
        used = number(ROOT + "/memory/memory.usage_in_bytes")
        limit = number(ROOT + "/memory/memory.limit_in_bytes")
    if used is not None:
        text = read(ROOT + "/memory.stat") or read(ROOT + "/memory/memory.stat") or ""
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                used = max(0, used - int(value))
                break
        # Files that another cgroup read first are charged there, those of the daemon too: what is left once the daemon's
        # share is taken off can be less than the commands are known to hold.
        result["memoryBytes"] = max(result["memoryBytes"], used - result["daemonMemoryBytes"])
    if limit is not None and limit < 1 << 60:
        result["memoryLimitBytes"] = limit
    nanos = number(ROOT + "/cpuacct/cpuacct.usage") or number(ROOT + "/cpu,cpuacct/cpuacct.usage")
    if nanos is not None:
        result["cpuSeconds"] = round(nanos / 1e9, 3)
    else:
        for line in (read(ROOT + "/cpu.stat") or "").splitlines():
            if line.startswith("usage_usec "):
                result["cpuSeconds"] = round(int(line.split()[1]) / 1e6, 3)
