"""Finding and killing everything below a process. Needs no new process, only /proc."""
import os
import time

STOP, KILL = 19, 9
_HAS_CHILDREN = os.path.exists("/proc/self/task/%d/children" % os.getpid())


def stat_of(pid):
    """(parent pid, state, start time, cpu ticks, session) or None."""
    try:
        fd = os.open("/proc/%d/stat" % pid, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    rest = data[data.rfind(b")") + 2 :].split()
    return int(rest[1]), rest[0], int(rest[19]), int(rest[11]) + int(rest[12]), int(rest[3])


def children_of(pid):
    found = []
    try:
        tasks = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return found
    for task in tasks:
        try:
            fd = os.open("/proc/%d/task/%s/children" % (pid, task), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            data = b""
            while True:
                part = os.read(fd, 65536)
                if not part:
                    break
                data += part
            found.extend(int(word) for word in data.split())
        except OSError:
            pass
        finally:
            os.close(fd)
    return found


def descendants(root):
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        below = children_of(pid) if _HAS_CHILDREN else scan_children(pid)
        found.extend(below)
        todo.extend(below)
    return found


def kill_pass(root):
    """Stops everything below root until a walk finds nothing new, then kills it. Gives how many processes there were.

    Stopping first is what beats a fork storm: a stopped process cannot fork, so the walk catches up. A pid cannot be
    somebody else's by the time we signal it: it was below root a moment ago, and stopped processes do not go away. What
    went before it stopped is neither waited for nor killed."""
    seen = set()
    still = {}  # stopped for certain: their children as read after that
    give_up = time.monotonic() + 2
    while True:
        fresh = moving = 0
        todo = [root]
        while todo and time.monotonic() < give_up:
            pid = todo.pop()
            below = still.get(pid)
            if below is None:
                # the state first: children read after it has stopped are all it will ever have
                stat = stat_of(pid) if pid in seen else None
                below = children_of(pid) if _HAS_CHILDREN else scan_children(pid)
                if is_still(stat):
                    still[pid] = below
                elif stat is not None:
                    moving += 1
            for child in below:
                if child not in seen:
                    seen.add(child)
                    fresh += 1
                    send(child, STOP)
            todo.extend(below)
        late = time.monotonic() >= give_up  # what is out of time is found by the next pass
        if late or not fresh and not moving:
            break
    for pid in seen:
        if late or pid in still or is_still(stat_of(pid)):
            send(pid, KILL)
    return len(seen)


def is_still(stat):
    return stat is not None and stat[1] in b"TtZX"


def send(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass


def scan_children(parent):
    """Where the kernel has no list of children."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = stat_of(int(name))
            if stat and stat[0] == parent:
                found.append(int(name))
    return found
