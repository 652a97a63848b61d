"""File work and tunnels: the daemon's side. The work itself happens in files.py, in a process of its own per job."""
import errno
import marshal
import os

import _socket
import keepers
import wire
from streams import Sink, Source, widen
from wire import Refused


class FilesHelper:
    """A process that has loaded files.py and forks one child per job, which becomes the sandbox's user first."""

    def __init__(self, loop, pool):
        self.sock = pool.order(b"f")
        self.told = b""

    @property
    def pid(self):
        """0 until it has come up."""
        try:
            self.told = self.told or self.sock.recv(4, _socket.MSG_DONTWAIT)
        except OSError:
            pass
        return int.from_bytes(self.told, "big")

    def start(self, job, fds):
        data = marshal.dumps(job)
        keepers.send_fds(self.sock, len(data).to_bytes(4, "big"), fds)
        self.sock.sendall(data)


class FileJob:
    def __init__(self, daemon, connection, ident, message, answer):
        self.daemon, self.connection, self.ident, self.answer = daemon, connection, ident, answer
        self.result = b""
        self.pid = 0
        self.cancelled = False
        self.source = None
        self.sink = None
        if message["action"] == "slots":
            raise Refused("unsupported", "no such file work")
        slot = daemon.slot(message["slot"]) if message.get("slot") is not None else None
        user, base = (daemon.table.user, daemon.config["workdir"]) if slot is None else (slot.user, slot.home)
        path = wire.to_bytes(message["path"], "path")
        if not path:
            raise Refused("invalid-argument", "the path is empty")
        job = {name: value for name, value in message.items() if name not in ("op", "input", "output", "path", "slot")}
        job["path"] = os.path.join(os.fsencode(base), path) if slot is None else slot.path(path)
        job["shown"] = message["path"]
        job["exclude"] = [wire.to_bytes(name, "exclude") for name in message.get("exclude") or ()]
        switch = (user.uid, user.gid, list(user.groups)) if user.switch else None
        result_read, result_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(result_write, True)
        theirs = [result_write]
        ours = [result_read]
        try:
            input_write = output_read = -1
            if message["input"]:
                read_end, input_write = os.pipe2(os.O_CLOEXEC)
                theirs.append(read_end)
                ours.append(input_write)
                widen(input_write)
                os.set_blocking(input_write, False)
            if message["output"]:
                output_read, write_end = os.pipe2(os.O_CLOEXEC)
                theirs.append(write_end)
                ours.append(output_read)
                widen(output_read)
                os.set_blocking(output_read, False)
            try:
                daemon.files.start((switch, base, bool(message["input"]), bool(message["output"]), job), theirs)
            except OSError:  # the helper was killed: one more try with a new one
                daemon.files = FilesHelper(daemon.loop, daemon.pool)
                daemon.files.start((switch, base, bool(message["input"]), bool(message["output"]), job), theirs)
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        connection.jobs[ident] = self
        self.result_fd = result_read
        self.output_done = not message["output"]
        self.output_fd = output_read
        if message["input"]:
            self.sink = Sink(connection, message["input"], input_write, is_pipe=True)
        if message["output"]:
            self.source = Source(connection, message["output"], output_read, self.output_ended)
        daemon.loop.watch(result_read, self.readable, read=True)

    def readable(self, _events):
        try:
            data = os.read(self.result_fd, 1 << 20)
        except BlockingIOError:
            return
        if data:
            self.result += data
            if not self.pid and len(self.result) >= 4:
                self.pid = int.from_bytes(self.result[:4], "big")
                if self.cancelled:
                    self.stop()
            return
        self.daemon.loop.unwatch(self.result_fd)
        os.close(self.result_fd)
        self.result_fd = -1
        self.finish()

    def output_ended(self):
        os.close(self.output_fd)
        self.output_done = True
        self.finish()

    def finish(self):
        if self.result_fd >= 0 or not self.output_done:
            if self.result_fd < 0 and len(self.result) <= 4 and self.source is not None:
                self.source.finish()  # it died: nothing more will come
            return
        if self.connection.jobs.pop(self.ident, None) is None:
            return
        if self.sink is not None:
            self.sink.reset()
        if self.cancelled:
            return self.answer(refused=Refused("cancelled", "the file work was cancelled"))
        if len(self.result) <= 4:
            return self.answer(refused=Refused("internal", "the process that did the file work ended early (killed, perhaps for lack of memory)"))
        ok, error = marshal.loads(self.result[4:])
        if error is not None:
            refused = Refused(error[0], error[1], data=error[2])
            return self.answer(refused=refused)
        self.answer(ok=ok)

    def cancel(self):
        if self.cancelled:
            return
        self.cancelled = True
        self.stop()
        self.daemon.loop.later(1, lambda: self.signal(9))
        if self.source is not None:
            self.source.drop()

    def stop(self):
        """First asks, so that it removes what it has begun. Its input ends after that, or half a file would look whole."""
        if self.pid:
            self.signal(15)
            if self.sink is not None:
                self.daemon.loop.later(0.2, self.sink.reset)

    def signal(self, number):
        if self.pid and self.result_fd >= 0:
            try:
                os.kill(self.pid, number)
            except OSError:
                pass


class Tunnel:
    """A connection to a TCP port or a unix socket inside. Also works with the network off: the loopback is the sandbox's own."""

    def __init__(self, daemon, connection, ident, message, answer):
        self.daemon, self.connection, self.ident, self.answer = daemon, connection, ident, answer
        self.message = message
        self.fault = 0
        if message.get("path"):
            self.addresses = [(_socket.AF_UNIX, wire.to_bytes(message["path"], "path"))]
        else:
            port = message["port"]
            if not isinstance(port, int) or not 0 < port < 65536:
                raise Refused("invalid-argument", "not a port: %s" % (port,))
            self.addresses = [(_socket.AF_INET, ("127.0.0.1", port)), (_socket.AF_INET6, ("::1", port))]
        self.sock = None
        self.ends = 0
        connection.jobs[ident] = self
        self.next()

    def next(self):
        if not self.addresses:
            self.connection.jobs.pop(self.ident, None)
            return self.answer(refused=self.refusal())
        family, address = self.addresses.pop(0)
        try:
            self.sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
            self.sock.connect(address)
        except BlockingIOError:
            if family == _socket.AF_UNIX:  # not on its way: the other side has no room for one more just now
                self.addresses.insert(0, (family, address))
                self.sock.close()
                self.daemon.loop.later(0.01, self.again)
                return
        except OSError as error:
            self.fault = error.errno or 0
            if self.sock is not None:
                self.sock.close()
            return self.next()
        self.daemon.loop.watch(self.sock.fileno(), self.connected, write=True)

    def again(self):
        if self.ident in self.connection.jobs:  # nobody has cancelled it meanwhile
            self.next()

    def refusal(self):
        if self.message.get("path"):
            path = wire.quoted(self.message["path"])
            why = os.strerror(self.fault) if self.fault else "it is no address"
            return Refused("connection-lost", "cannot connect to %s: %s" % (path, why), data={"errno": errno.errorcode.get(self.fault, "")})
        return Refused(
            "connection-lost", "nothing listens on port %d in the sandbox" % self.message["port"], "start the service first, or wait for it"
        )

    def connected(self, _events):
        fd = self.sock.fileno()
        self.daemon.loop.unwatch(fd)
        self.fault = self.sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if self.fault:
            self.sock.close()
            return self.next()
        if self.sock.family != _socket.AF_UNIX:
            self.sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self.connection.jobs.pop(self.ident, None)
        self.answer(ok={})
        # two descriptors, so that reading and writing are watched apart
        read_fd = os.dup(fd)
        write_fd = self.sock.detach()
        self.sink = Sink(self.connection, self.message["input"], write_fd, lambda: self.half_closed(write_fd))
        self.source = Source(self.connection, self.message["output"], read_fd, lambda: self.source_ended(read_fd))

    def half_closed(self, fd):
        half = _socket.socket(fileno=fd)
        try:
            half.shutdown(_socket.SHUT_WR)
        except OSError:
            pass
        half.close()

    def source_ended(self, fd):
        os.close(fd)

    def cancel(self):
        if self.sock is not None and self.sock.fileno() >= 0:
            self.daemon.loop.unwatch(self.sock.fileno())
            self.sock.close()
        if self.connection.jobs.pop(self.ident, None) is not None:
            self.answer(refused=Refused("cancelled", "connecting was cancelled"))
