"""Small processes that start commands, so that starting stays fast however large the daemon grows.

A keeper starts one command at a time and is its subreaper: whatever the command leaves behind, however often it forks,
setsids or clears its environment, stays below the keeper and can be found there. When nothing is left below it, it takes
the next command. Keepers are forked from a zygote, and the zygote from the daemon before that grows.
"""
import marshal
import os
import sys

import _signal
import _socket
import starting
from supervisor import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, prctl

IDLE_KEPT = 64  # after a burst; those that stay unused go again
IDLE_ALWAYS = 4
TRIM_SECONDS = 5
JOB_BYTES = 4096  # a job is smaller, as a rule: then it comes with one call


def pair():
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)


# Not with the array module: it brings the whole of collections, which takes milliseconds at every start.
def send_fds(sock, data, fds):
    rights = b"".join([fd.to_bytes(4, sys.byteorder) for fd in fds])
    sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def receive_fds(sock, size, most):
    data, ancillary, _, _ = sock.recvmsg(size, _socket.CMSG_LEN(most * 4), _socket.MSG_CMSG_CLOEXEC)
    fds = []
    for level, kind, block in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds += [int.from_bytes(block[at : at + 4], sys.byteorder) for at in range(0, len(block) - 3, 4)]
    return data, fds


# -- the zygote -------------------------------------------------------------------------------------------------------


class Zygote:
    """Forks keepers and helpers on order. `holds` False: what a command leaves behind is on its own, and lives on without us."""

    def __init__(self, holds=True):
        self.holds = holds
        self.begin()

    def begin(self):
        self.sock, theirs = pair()
        pid = os.fork()
        if pid == 0:
            try:
                serve(theirs, self.holds)
            except BaseException as error:
                os.write(2, ("zygote: %r\n" % (error,)).encode())
            os._exit(1)
        self.pid = pid
        theirs.close()

    def order(self, kind):
        """The daemon's end of a new process. b'k': a keeper, b's': a slot's keeper, b'n': a slot's own view, b'f': a files helper."""
        ours, theirs = pair()
        try:
            try:
                send_fds(self.sock, kind, [theirs.fileno()])
            except OSError:  # somebody killed the zygote
                self.sock.close()
                self.begin()
                send_fds(self.sock, kind, [theirs.fileno()])
        finally:
            theirs.close()
        return ours


def serve(sock, holds):
    """Never returns. One byte and one descriptor per order."""
    close_all_but(sock)
    prctl(PR_SET_PDEATHSIG, 9)  # the zygote dies with the daemon
    import gc

    gc.disable()  # a collection would touch, and so copy, the pages that keepers share
    gc.freeze()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # keepers that ended are put away at once: they count for their user's limit
    while True:
        kind, fds = receive_fds(sock, 1, 1)
        if not kind:
            os._exit(0)
        if kind == b"s":
            import slot_keeper  # noqa: F401 - once, here
        elif kind == b"n":
            import slot_place
        try:
            pid = os.fork()
        except OSError:  # no pids or memory left: the daemon sees the closed end and says so
            pid = -1
        if pid == 0:
            sock.close()
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            mine = _socket.socket(fileno=fds[0])
            try:
                if kind == b"k":
                    keeper(mine, holds)
                elif kind == b"s":
                    keeper(mine, True, slot_keeper)
                elif kind == b"n":
                    slot_place.hold(mine)
                else:
                    import files

                    files.helper(mine)
            except OSError:
                pass  # the daemon has ended
            except BaseException as error:
                os.write(2, ("keeper: %r\n" % (error,)).encode())
            os._exit(1)
        for fd in fds:
            os.close(fd)


def close_all_but(sock):
    """Whatever our starter holds, or was itself started with: nothing of it reaches a command or stays open through us."""
    try:
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        fds = range(3, os.sysconf("SC_OPEN_MAX"))
    for fd in fds:
        if fd > 2 and fd != sock.fileno():
            try:
                os.close(fd)
            except OSError:
                pass  # it was the listing's own


def keeper(sock, holds, slot=None):
    """`holds` False: what a command leaves behind is on its own, and lives on without us. `slot`: the module, for a slot's."""
    if holds:
        if not prctl(PR_SET_CHILD_SUBREAPER, 1):
            os.write(2, b"keeper: cannot become a subreaper\n")
        raise_oom_score()
    if slot is not None:
        slot.become(sock)
    sock.sendall(b"R" + os.getpid().to_bytes(8, "big"))
    while True:
        data, fds = receive_fds(sock, JOB_BYTES, 4)
        if not data:
            os._exit(0)
        while len(data) < 4:
            data += sock.recv(4 - len(data))
        size = int.from_bytes(data[:4], "big")
        if size == 0:
            large = fds.pop()
            job = marshal.loads(os.pread(large, os.fstat(large).st_size, 0))
            os.close(large)
        else:
            missing = 4 + size - len(data)
            if missing:
                data += sock.recv(missing, _socket.MSG_WAITALL)
                if len(data) < 4 + size:
                    os._exit(0)
            job = marshal.loads(memoryview(data)[4:])
        if job[0] == "batch":
            slot.batch(sock, job, fds)
            continue
        argv, env, cwd, switch, tty = job
        try:
            main = starting.start(argv, env, cwd, (starting.EMPTY, *fds)[-3:], switch, tty)
        except starting.NotStarted as failure:
            release(fds)
            sock.sendall(b"F" + failure.number.to_bytes(4, "big") + failure.in_cwd.to_bytes(4, "big"))
            continue
        release(fds)
        sock.sendall(b"S" + main.to_bytes(8, "big"))
        ended = b""  # one message with what follows, unless the command left something behind that lives
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG if ended else 0)
            except ChildProcessError:
                break
            if pid == main:
                ended = b"X" + status.to_bytes(8, "big")
            elif pid == 0:
                sock.sendall(ended)
                ended = b""
        sock.sendall(ended + b"I" + b"\0" * 8)


def release(fds):
    for fd in set(fds):
        os.close(fd)


def raise_oom_score():
    """Inherited by the commands: memory pressure ends one of them, not the daemon."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(fd, b"800")
    except OSError:
        pass
    finally:
        os.close(fd)


# -- the daemon's side ------------------------------------------------------------------------------------------------


class Keeper:
    __slots__ = ("pool", "sock", "pid", "process", "buffer", "closed")

    def __init__(self, pool, sock):
        self.pool, self.sock = pool, sock
        self.pid = 0
        self.process = None
        self.buffer = b""
        self.closed = False

    def start(self, process, job, fds):
        self.process = process
        data = marshal.dumps(job)
        # A message is small enough for the socket to take it at once: a keeper that was stopped, perhaps by its own command,
        # must not stop us.
        if len(data) < 60000:
            send_fds(self.sock, len(data).to_bytes(4, "big") + data, fds)
        else:
            large = os.memfd_create("job")
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(large, view) :]
                send_fds(self.sock, b"\0\0\0\0", list(fds) + [large])
            finally:
                os.close(large)

    def readable(self, _events):
        try:
            data = self.sock.recv(4096, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.lost()
        self.buffer += data
        while len(self.buffer) >= 9:
            kind, value = self.buffer[:1], self.buffer[1:9]
            self.buffer = self.buffer[9:]
            number = int.from_bytes(value, "big")
            if kind == b"R":
                self.pid = self.outside(self.pool, number)
            elif kind == b"S":
                self.process.started(self.outside(self, number))
            elif kind == b"F":
                process, self.process = self.process, None
                process.failed(int.from_bytes(value[:4], "big"), number & 0xFFFFFFFF)
                self.pool.give_back(self)
            elif kind == b"X":
                self.process.exited(number)
            elif kind == b"L":
                self.process.left_behind()
            elif kind == b"I":
                process, self.process = self.process, None
                process.emptied()
                self.pool.give_back(self)

    def outside(self, _parent, pid):
        """A pid as we see it; a slot's own view counts anew."""
        return pid

    def lost(self):
        """Somebody killed the keeper. What it kept has gone to the supervisor, out of our sight."""
        if not self.closed:
            self.closed = True
            self.pool.forget(self)
            process, self.process = self.process, None
            if process is not None:
                process.lost()


class KeeperPool:
    def __init__(self, loop, zygote):
        self.loop, self.zygote = loop, zygote
        self.idle = []
        self.unused = 0  # the fewest that were idle since the last trim
        self.trimming = False
        self.busy = set()
        self.give_back(self._fork())

    def order(self, kind):
        return self.zygote.order(kind)

    def _fork(self):
        keeper = Keeper(self, self.order(b"k"))
        self.loop.watch(keeper.sock.fileno(), keeper.readable, read=True)
        return keeper

    def take(self):
        keeper = self.idle.pop() if self.idle else self._fork()
        self.unused = min(self.unused, len(self.idle))
        self.busy.add(keeper)
        return keeper

    def give_back(self, keeper):
        self.busy.discard(keeper)
        if keeper.closed:
            return
        if len(self.idle) >= IDLE_KEPT:
            return self.dismiss(keeper)
        self.idle.append(keeper)
        if not self.trimming and len(self.idle) > IDLE_ALWAYS:
            self.trimming = True
            self.unused = len(self.idle)
            self.loop.later(TRIM_SECONDS, self.trim)

    def trim(self):
        for keeper in self.idle[: max(0, self.unused - IDLE_ALWAYS)]:
            self.dismiss(keeper)
        self.unused = len(self.idle)
        self.trimming = len(self.idle) > IDLE_ALWAYS
        if self.trimming:
            self.loop.later(TRIM_SECONDS, self.trim)

    def dismiss(self, keeper):
        keeper.closed = True
        self.forget(keeper)

    def forget(self, keeper):
        self.busy.discard(keeper)
        if keeper in self.idle:
            self.idle.remove(keeper)
        self.loop.unwatch(keeper.sock.fileno())
        keeper.sock.close()
