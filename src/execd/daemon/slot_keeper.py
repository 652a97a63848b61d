"""The keepers of one slot: they have become its user, so that starting a command needs no change of user and stays a vfork.

Nothing of theirs can be read or traced by the slot's own commands: the kernel shields a process that changed its user. They
can be killed by them, which costs the slot its commands and nobody else anything.
"""
import marshal
import os
import select
import struct
import time

import _signal
import _socket
import starting
import trees

# index, kind (0: it ran, 1: it did not, and stdout is a JSON error), flags, exit code, milliseconds, bytes of stdout and stderr, of the signal's name
RECORD = struct.Struct(">IBBHdIIB")
TIMED_OUT, OOM_KILLED, TRUNCATED = 1, 2, 4
SIGNAL_NAMES = {}
for _name in sorted(dir(_signal)):
    if _name.startswith("SIG") and not _name.startswith("SIG_") and _name not in ("SIGCLD", "SIGPOLL", "SIGIOT", "SIGRTMIN", "SIGRTMAX"):
        SIGNAL_NAMES.setdefault(int(getattr(_signal, _name)), _name)


def become(sock):
    """Reads whom to become: uid, groups (the first is its own), limit on processes. Cannot be undone."""
    import resource

    import keepers

    size = int.from_bytes(sock.recv(4, _socket.MSG_WAITALL), "big")
    uid, groups, pids = marshal.loads(sock.recv(size, _socket.MSG_WAITALL))
    os.setgroups(groups)
    os.setresgid(groups[0], groups[0], groups[0])
    if pids:
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        limit = pids if hard == resource.RLIM_INFINITY else min(pids, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setresuid(uid, uid, uid)
    keepers.prctl(38, 1)  # PR_SET_NO_NEW_PRIVS: no set-uid program takes it further
    keepers.prctl(4, 0)  # PR_SET_DUMPABLE: it is off by now, unless somebody set suid_dumpable
    os.umask(0o022)


class Runner:
    """One command after another; no threads, no shell."""

    def __init__(self):
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.wake, self.woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(self.woken)
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)

    def run(self, argv, env, cwd, given, deadline, most):
        """(kind, flags, code, signal name, stdout, stderr); kind 1 with an errno as code where it did not start."""
        pipes = []
        stdin = self.null
        try:
            for _ in range(2):
                pipes += os.pipe2(os.O_CLOEXEC)
            out_read, out_write, err_read, err_write = pipes
            if given:
                stdin = os.memfd_create("stdin", 0x1)
                view = memoryview(given)
                while view:
                    view = view[os.write(stdin, view) :]
                os.lseek(stdin, 0, os.SEEK_SET)
            main = starting.start(argv, env, cwd, (stdin, out_write, err_write))
        except (OSError, starting.NotStarted) as failure:
            for fd in pipes:
                os.close(fd)
            if isinstance(failure, OSError):
                failure = starting.NotStarted(failure.errno)
            return 1, 0, failure.number, b"", b"cwd" if failure.in_cwd else b"", b""
        finally:
            if stdin != self.null:
                os.close(stdin)
        os.close(out_write)
        os.close(err_write)
        outputs = {out_read: bytearray(), err_read: bytearray()}
        totals = {out_read: 0, err_read: 0}
        poll = select.poll()
        poll.register(out_read, select.POLLIN)
        poll.register(err_read, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        for fd in outputs:
            os.set_blocking(fd, False)
        open_ones = {out_read, err_read}
        status = None
        flags = 0
        grace = None
        while status is None or open_ones:
            now = time.monotonic()
            wait = None
            if status is not None:
                if grace is None:
                    grace = now + 0.05  # a child it left behind may hold the pipes open
                if now >= grace:
                    break
                wait = (grace - now) * 1000
            elif deadline is not None:
                if now >= deadline:
                    flags |= TIMED_OUT
                    deadline = None
                    status = self.kill(main)
                    continue
                wait = (deadline - now) * 1000
            for fd, _events in poll.poll(wait):
                if fd == self.wake:
                    try:
                        os.read(fd, 512)
                    except BlockingIOError:
                        pass
                    if status is None:
                        status = reaped(main)
                    continue
                while True:
                    try:
                        data = os.read(fd, 65536)
                    except BlockingIOError:
                        break
                    if not data:
                        poll.unregister(fd)
                        open_ones.discard(fd)
                        break
                    kept = outputs[fd]
                    kept += data
                    totals[fd] += len(data)
                    if len(kept) > 2 * most + 65536:
                        del kept[: len(kept) - most]
                    if len(data) < 65536:
                        break
        os.close(out_read)
        os.close(err_read)
        for fd, kept in outputs.items():
            if len(kept) > most:
                del kept[: len(kept) - most]
            if totals[fd] > len(kept):
                flags |= TRUNCATED
        name = b""
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            code, name = 128 + number, SIGNAL_NAMES.get(number, "SIG%d" % number).encode()
        else:
            code = os.WEXITSTATUS(status)
        if flags & TIMED_OUT:
            code = 124
        return 0, flags, code, name, bytes(outputs[out_read]), bytes(outputs[err_read])

    def kill(self, main):
        """Everything below us is this command's: the one before left nothing, or we would not have got this one."""
        status = None
        while True:
            trees.kill_pass(os.getpid())
            while True:
                try:
                    pid, ended = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    return status if status is not None else 9
                if pid == 0:
                    break
                if pid == main:
                    status = ended
            time.sleep(0.001)


def reaped(main):
    """Status of the command when it has ended; what else has ended is put away too."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == main:
            found = status


def has_children():
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return True
        except ChildProcessError:
            return False


_runner = None


def batch(sock, job, fds):
    """Runs commands until one leaves something behind: then this keeper keeps that, and another goes on."""
    global _runner
    if _runner is None:
        _runner = Runner()
    runner = _runner
    _name, commands, base, home, deadline = job
    out = fds[0]
    done = 0
    leaves = False
    for index, argv, env, cwd, given, timeout, most in commands:
        began = time.monotonic()
        if deadline is not None and began >= deadline:
            record = RECORD.pack(index, 1, 0, 0, 0.0, 8, 0, 0) + b"deadline"
        else:
            ends = deadline
            if timeout is not None:
                ends = began + timeout if ends is None else min(ends, began + timeout)
            merged = base
            if env:
                merged = dict(base)
                merged.update(env)
            kind, flags, code, name, stdout, stderr = runner.run(argv, merged, cwd or home, given, ends, most)
            took = (time.monotonic() - began) * 1000
            record = b"".join((RECORD.pack(index, kind, flags, code, took, len(stdout), len(stderr), len(name)), name, stdout, stderr))
        view = memoryview(record)
        while view:
            view = view[os.write(out, view) :]
        done += 1
        if has_children():
            leaves = True
            break
    os.close(out)
    if leaves:
        sock.sendall(b"L" + done.to_bytes(8, "big"))
        _signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        os.close(runner.wake)
        os.close(runner.woken)
        os.close(runner.null)
        _runner = None
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
    sock.sendall(b"I" + b"\0" * 8)
