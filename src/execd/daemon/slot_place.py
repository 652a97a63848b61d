"""A slot's own view: a private /tmp, shared memory, message queues and processes. Only where the daemon may make namespaces.

One process holds it as its process 1; it is root's, so that nobody in the slot can touch it. When it ends, the kernel ends
everything in there and drops what the kernel kept for it.
"""
import ctypes
import errno
import marshal
import os

import _signal
import _socket
import keepers

NEWNS, NEWIPC, NEWUSER, NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000
NOSUID, NODEV, NOEXEC, BIND, REC, PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18


class Failed(Exception):
    """Its text names the step."""


def hold(sock):
    """In a child of the zygote; never returns. Reports `P` and the pid of process 1, or `F` and what failed."""
    size = int.from_bytes(sock.recv(4, _socket.MSG_WAITALL), "big")
    uid, temporary = marshal.loads(sock.recv(size, _socket.MSG_WAITALL))
    try:
        pid = build(uid, temporary, lambda: first(sock))
        sock.sendall(b"P" + pid.to_bytes(8, "big"))
    except Failed as error:
        text = str(error).encode("utf-8", "replace")
        sock.sendall(b"F" + len(text).to_bytes(8, "big") + text)
    os._exit(0)


def why_not():
    """Builds such a view and drops it. None: it can be had."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        try:
            build(0, "/tmp", lambda: os._exit(0))
        except Failed as error:
            os.write(write_end, str(error).encode("utf-8", "replace")[:1000])
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read()
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # put away already
        pass
    return said.decode("utf-8", "replace") or None


def build(uid, temporary, then):
    """Gives the pid of its process 1, which calls `then`. The caller itself is of no more use for anything else."""
    step = "namespaces"
    try:
        libc = ctypes.CDLL(None, use_errno=True)

        def must(result):
            if result < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

        def mount(source, target, kind, flags, data=None):
            text = [None if part is None else os.fsencode(part) for part in (source, target, kind, data)]
            must(libc.mount(text[0], text[1], text[2], ctypes.c_ulong(flags), text[3]))

        own = NEWNS | NEWIPC | NEWPID
        is_nested = libc.unshare(own) < 0
        if is_nested:
            if ctypes.get_errno() != errno.EPERM:
                must(-1)
            step = "user namespace"
            as_root_of_its_own(lambda: must(libc.unshare(NEWUSER | own)))
        step = "/"
        mount(None, "/", None, REC | PRIVATE)
        owner = "uid=%d,gid=%d" % (uid, uid)
        for step in ("/tmp", "/var/tmp"):
            if os.path.isdir(step) and not os.path.islink(step):
                mount(temporary, step, None, BIND)
        step = "/dev/shm"
        if os.path.isdir(step):
            mount("slot", step, "tmpfs", NOSUID | NODEV, "mode=1777,size=256m," + owner)
        step = "/dev/mqueue"
        if os.path.isdir(step):
            mount("slot", step, "mqueue", NOSUID | NODEV | NOEXEC)
        step = "fork"
        ready_read, ready_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready_read)
            try:
                mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
                if is_nested:  # what let us do this shall not let the slot's commands do it
                    with open("/proc/sys/user/max_user_namespaces", "w") as file:
                        file.write("0")
            except OSError as error:
                os.write(ready_write, (error.strerror or str(error)).encode())
                os._exit(1)
            os.write(ready_write, b"ok")
            os.close(ready_write)
            then()
            os._exit(0)
        os.close(ready_write)
        said = os.read(ready_read, 1000)
        if said != b"ok":
            step = "/proc"
            raise OSError(1, said.decode("utf-8", "replace") or "it ended at once")
        return pid
    except OSError as error:
        raise Failed("%s: %s" % (step, error.strerror or error)) from None


def as_root_of_its_own(unshare):
    """In a user namespace with the same ids as outside, so that files look the same. Only somebody outside may say so."""
    target = os.getpid()
    begin_read, begin_write = os.pipe()
    told_read, told_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(begin_write)
        try:
            if os.read(begin_read, 1):
                for name in ("uid_map", "gid_map"):
                    with open("/proc/self/" + name) as file:
                        spans = [line.split() for line in file]
                    with open("/proc/%d/%s" % (target, name), "w") as file:
                        file.write("".join("%s %s %s\n" % (inside, inside, count) for inside, _, count in spans))
            os.write(told_write, b"ok")
        except OSError as error:
            os.write(told_write, (error.strerror or str(error)).encode())
        finally:
            os._exit(0)
    os.close(begin_read)
    os.close(told_write)
    try:
        unshare()
        os.write(begin_write, b"x")
        said = os.read(told_read, 1000)
        if said != b"ok":
            raise OSError(1, "its ids: " + said.decode("utf-8", "replace"))
    finally:
        os.close(begin_write)
        os.close(told_read)
        os.waitpid(pid, 0)


def first(sock):
    """Process 1 of the slot: a zygote of its keepers. One byte and one descriptor per order."""
    import slot_keeper

    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    while True:
        kind, fds = keepers.receive_fds(sock, 1, 1)
        if not kind:
            os._exit(0)
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            sock.close()
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            try:
                keepers.keeper(_socket.socket(fileno=fds[0]), True, slot_keeper)
            except OSError:
                pass
            except BaseException as error:
                os.write(2, ("keeper: %r\n" % (error,)).encode())
            os._exit(1)
        for fd in fds:
            os.close(fd)
