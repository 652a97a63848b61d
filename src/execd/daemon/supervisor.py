"""The parent of a sandbox's daemon: ends everything when the daemon ends or the time is up. Pid 1 where there is a pid namespace.

Also runs alone as pid 1 of a container (supervisorSource in bootstrap.ts), so it imports nothing of ours at the top."""
import os
import time

import _signal

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36


def now_ms():
    return int(time.time() * 1000)


def boot_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000


def libc(name, *values):
    """What a function of the C library gives for whole numbers; None where it cannot be called (a Python without ctypes)."""
    try:
        try:  # the C half: the other takes milliseconds to load where no byte code is kept, as in official images
            import _ctypes

            call, function = _ctypes.call_function, _ctypes.dlsym(_ctypes.dlopen(None, 0), name)
        except Exception:
            import ctypes

            return getattr(ctypes.CDLL(None), name)(*values)
        return call(function, values)
    except Exception:
        return None


def prctl(option, value):
    return libc("prctl", option, value, 0, 0, 0) == 0


def be_untraceable():
    """A command with our uid could otherwise stop us with ptrace, and the lifetime with us. Not inherited by what we exec."""
    prctl(PR_SET_DUMPABLE, 0)


def read_expiry(fd):
    """The expiry as CLOCK_BOOTTIME milliseconds: a clock that is set does not move it."""
    try:
        text = os.pread(fd, 64, 0).split()
        return int(text[0]) if text else None
    except (OSError, ValueError):
        return None


def write_expiry(fd, boot):
    os.pwrite(fd, b"%020d\n" % boot, 0)


def supervise(expires_boot, max_boot, expiry_fd, daemon, daemon_file=None, before_exit=None):
    """Returns never. `daemon` is the pid of our child, or None: then the pid in daemon_file, once somebody wrote it, is the one
    whose end ends us."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP])
    ends = min(expires_boot, max_boot)
    while True:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if daemon is None and daemon_file is not None:
                try:
                    with open(daemon_file) as file:
                        if int(file.read().split()[0]) == pid:
                            daemon = pid
                except (OSError, ValueError, IndexError):
                    pass
            if pid == daemon:
                finish(before_exit)
        now = boot_ms()
        if ends <= now:
            # Read after the clock: what was written before the end it moves is seen.
            later = read_expiry(expiry_fd) if expiry_fd is not None else None
            ends = min(max(ends, later or 0), max_boot)
            if ends <= now:
                finish(before_exit)
        got = _signal.sigtimedwait([_signal.SIGCHLD, _signal.SIGTERM], min((ends - now) / 1000.0, 86400.0))
        # As pid 1 only a SIGTERM from outside the namespace (its sender has no pid here) ends us; commands cannot.
        if got is not None and got.si_signo == _signal.SIGTERM and (os.getpid() != 1 or got.si_pid == 0):
            finish(before_exit)


def finish(before_exit):
    if before_exit is not None:
        before_exit()
    os._exit(0)
