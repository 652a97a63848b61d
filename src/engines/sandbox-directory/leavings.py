"""Ends and removes what belongs to one sandbox of the `direct` and `namespace` engines. Joined in front of the scripts that use it."""
import errno
import fcntl
import os
import select
import sys
import time

# The C halves of `json` and `signal`: importing those costs more than all else that these scripts do.
import _signal

try:
    import _json

    class _Context:
        strict = True
        object_hook = object_pairs_hook = None
        parse_float, parse_int, parse_constant, memo = float, int, None, {}

    _scan = _json.make_scanner(_Context)
    _encode = _json.make_encoder(None, None, _json.encode_basestring_ascii, None, ":", ",", False, False, False)

    def loads(text):
        return _scan(text, 0)[0]

    def dumps(value):
        return "".join(_encode(value, 0))

    if loads(dumps({"a": [1, "\udc80", None, True, 0.5]})) != {"a": [1, "\udc80", None, True, 0.5]}:
        raise ImportError
except Exception:  # another interpreter, or its private half has changed
    from json import dumps, loads


def start_time(pid):
    """Clock ticks since boot; with the pid it names a process for good. None when there is no such process, or only its corpse."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            data = file.read()
    except OSError:
        return None
    fields = data[data.rfind(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def recorded(path):
    """The process that a pid file names, if it still is that one."""
    try:
        with open(path) as file:
            pid, started = file.read().split()
        return int(pid) if start_time(int(pid)) == started else None
    except (OSError, ValueError):
        return None


def is_alive(directory):
    return any(recorded(directory + name) for name in ("/run/supervisor.pid", "/init.pid"))


def signal_and_wait(path, number, seconds):
    """True when the recorded process is gone. The pid file is read again after the handle is held: no other process is hit."""
    pid = recorded(path)
    if pid is None:
        return True
    try:
        handle = os.pidfd_open(pid)
    except OSError as error:
        if error.errno == errno.ESRCH:
            return True
        raise
    try:
        if recorded(path) != pid:
            return True
        _signal.pidfd_send_signal(handle, number)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def kill_marked(identity):
    """Processes that lost their sandbox (its supervisor and daemon were killed together) and still carry its id. Stopped first:
    what is stopped cannot fork away from the next look."""
    marker = b"ANYPLACE_SANDBOX=" + identity.encode()
    for _ in range(50):
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                with open("/proc/%s/environ" % name, "rb") as file:
                    if marker in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue
        if not found:
            return
        for number in (_signal.SIGSTOP, _signal.SIGKILL):
            for pid in found:
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
        time.sleep(0.002)


def remove_cgroups(paths):
    """Kills whatever is in them and removes them."""
    for path in paths:
        for attempt in range(500):
            try:
                with open(path + "/cgroup.procs") as file:
                    pids = [int(line) for line in file]
                for pid in pids:
                    os.kill(pid, _signal.SIGKILL)
            except (OSError, ValueError):
                pass
            try:
                os.rmdir(path)
                remove_empty(os.path.dirname(path))
                break
            except FileNotFoundError:
                break
            except OSError:
                if attempt == 499:
                    raise
                time.sleep(0.002)


def remove_empty(path):
    try:
        os.rmdir(path)
    except OSError:
        pass


def run(*words):
    for program in (words[0], "/usr" + words[0]):
        try:
            pid = os.posix_spawn(program, words, {"PATH": "/usr/bin:/bin"}, file_actions=[(os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
        except OSError:
            continue
        return os.waitpid(pid, 0)[1]
    return 127


def put_aside(state, identity):
    """From here on nobody lists it, and what is left of it after a crash is known to be rubbish. Gives the new path."""
    aside = "%s/sandboxes/.removing-%s" % (state, identity)
    try:
        os.rename("%s/sandboxes/%s" % (state, identity), aside)
    except FileNotFoundError:
        pass  # somebody else did
    return aside


def remove_tree(path):
    """Never follows a link, whatever was put there, however deep."""
    if not os.path.lexists(path):
        return True
    if run("/bin/rm", "-rf", "--", path) != 0:
        run("/bin/chmod", "-R", "u+rwX", "--", path)
        run("/bin/rm", "-rf", "--", path)
    return not os.path.lexists(path)


class Ledger:
    """Held while names are taken or given back; the kernel lets go of it when its holder dies."""

    def __init__(self, state):
        self.state = state

    def __enter__(self):
        self.fd = os.open(self.state + "/sandboxes/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_):
        os.close(self.fd)


def name_holder(state, name):
    try:
        with open("%s/names/%s" % (state, name)) as file:
            return file.read().strip()
    except OSError:
        return None


def release(state, name, identity, cgroups):
    """Gives back the name and the control groups of a sandbox whose processes are gone. Safe to run twice, also at the same time."""
    with Ledger(state):
        remove_cgroups(cgroups)
        if name_holder(state, name) == identity:
            os.unlink("%s/names/%s" % (state, name))
