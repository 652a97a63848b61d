"""Finding and killing everything below a process. Needs no new process, only /proc."""
import os

import _signal

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
    if _HAS_CHILDREN:
        found, todo = [], [root]
        while todo:
            below = children_of(todo.pop())
            found.extend(below)
            todo.extend(below)
        return found
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = stat_of(int(name))
            if stat:
                children.setdefault(stat[0], []).append(int(name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), ())
        found.extend(below)
        todo.extend(below)
    return found


def send(pid, start_time, number):
    """Signals the process that had this start time, never one that took its pid since."""
    try:
        handle = os.pidfd_open(pid)
    except AttributeError:
        handle = None
    except OSError:
        return
    try:
        stat = stat_of(pid)
        if stat is None or stat[2] != start_time:
            return
        if handle is None:
            os.kill(pid, number)
        else:
            _signal.pidfd_send_signal(handle, number)
    except OSError:
        pass
    finally:
        if handle is not None:
            os.close(handle)


def kill_pass(root, spare=()):
    """Stops everything below root until a walk finds nothing new, then kills it. Gives how many live processes there were.

    Stopping first is what beats a fork storm: a stopped process cannot fork, so the walk catches up."""
    stopped = {}
    for _ in range(200):
        fresh = 0
        for pid in descendants(root):
            if pid in stopped or pid in spare:
                continue
            stat = stat_of(pid)
            if stat is None or stat[1] in (b"Z", b"X"):
                continue
            stopped[pid] = stat[2]
            fresh += 1
            send(pid, stat[2], STOP)
        if not fresh:
            break
    for pid, start_time in stopped.items():
        send(pid, start_time, KILL)
    return len(stopped)
