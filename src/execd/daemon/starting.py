"""How a keeper starts one command: posix_spawn, which copies nothing of us however large we are.

No module of the library's own is loaded for it (subprocess would bring threading, and with it a megabyte to each keeper)."""
import errno
import os

import _signal

SPAWN_SETS_SESSIONS = True
NO_ROOM = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
# What we ignore, or whoever started us, is no matter of the command. For posix_spawn all of them: the C library would ask
# for the state of each that is not named.
SIGNALS = sorted(_signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP})
IGNORED = [each for each in SIGNALS if _signal.getsignal(each) == _signal.SIG_IGN]
EMPTY = -1  # a descriptor that is not there yet: /dev/null


class NotStarted(Exception):
    """`number`: an errno. `in_cwd`: it is the directory that cannot be used, not the program."""

    def __init__(self, number, in_cwd=False):
        self.number, self.in_cwd = number or errno.EINVAL, in_cwd


def start(argv, env, cwd, fds, switch=None, tty=False):
    """The pid of the command in a session of its own. `switch`: (uid, gid, groups) to become, for good. The caller waits for it."""
    try:
        os.chdir(cwd)
    except OSError as error:
        raise NotStarted(error.errno, True) from None
    try:
        return try_each(argv, env, fds, switch, tty)
    except OSError as error:
        raise NotStarted(error.errno) from None
    except (ValueError, MemoryError):
        raise NotStarted(errno.ENOMEM) from None
    finally:
        os.chdir("/")  # a directory that somebody stays in cannot be unmounted


def try_each(argv, env, fds, switch, tty):
    """As a shell looks for a program: the first that can be run, else what the first that could not said."""
    refused = None
    for program in candidates(argv[0], env):
        try:
            return spawn(program, argv, env, fds, switch, tty)
        except OSError as error:
            if error.errno in NO_ROOM:  # says nothing of the program; the next one would be another
                raise
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                refused = refused or error
    raise refused or OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def candidates(program, env):
    if b"/" in program:
        return [program]
    path = env.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin")
    found = (os.path.join(directory, program) for directory in path.split(b":"))
    return (candidate for candidate in found if os.access(candidate, os.F_OK))


def spawn(program, argv, env, fds, switch, tty):
    global SPAWN_SETS_SESSIONS
    if SPAWN_SETS_SESSIONS and switch is None and not tty:
        actions = [
            (os.POSIX_SPAWN_OPEN, target, b"/dev/null", os.O_RDONLY, 0) if fd == EMPTY else (os.POSIX_SPAWN_DUP2, fd, target)
            for target, fd in enumerate(fds)
        ]
        try:
            return os.posix_spawn(program, argv, env, file_actions=actions, setsid=True, setsigdef=SIGNALS)
        except NotImplementedError:  # a C library without POSIX_SPAWN_SETSID
            SPAWN_SETS_SESSIONS = False
    return fork_and_exec(program, argv, env, fds, switch, tty)


def fork_and_exec(program, argv, env, fds, switch, tty):
    """What posix_spawn cannot do: another user, a controlling terminal. We stay who we are, out of that user's reach."""
    told, tell = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError:
        os.close(told)
        os.close(tell)
        raise
    if pid == 0:
        number = errno.ENOMEM
        try:
            os.setsid()
            if tty:
                import fcntl
                import termios

                fcntl.ioctl(fds[0], termios.TIOCSCTTY, 0)
            for each in IGNORED:
                _signal.signal(each, _signal.SIG_DFL)
            for target, fd in enumerate(fds):
                os.dup2(os.open("/dev/null", os.O_RDONLY) if fd == EMPTY else fd, target)
            if switch is not None:
                uid, gid, groups = switch
                os.setgroups(groups)
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            os.execve(program, argv, env)
        except OSError as error:
            number = error.errno or number
        finally:
            os.write(tell, b"%d" % number)
            os._exit(127)
    os.close(tell)
    said = os.read(told, 16)
    os.close(told)
    if said:
        os.waitpid(pid, 0)
        raise OSError(int(said), os.strerror(int(said)))
    return pid
