"""The exec daemon: one event loop, its clients, and what they may ask."""
import os
import sys
import time

import keepers
import slot_powers
import supervisor
import users
import wire
from arrivals import Arrivals
from loop import Loop
from processes import SIGNALS, ProcessTable
from streams import Sink, Source, widen
from wire import Refused

FULL_BYTES = 1024 * 1024
# Read into again and again: fresh memory of this size is mapped, faulted in and unmapped for every read.
SCRATCH = memoryview(bytearray(256 * 1024))
DATA_HEADER_BYTES = wire.HEADER.size + wire.OFFSET.size
# From here on a data frame is bulk: its bytes are moved from pipe to pipe inside the kernel.
BULK_BYTES = 64 * 1024
splice = getattr(os, "splice", None)  # Python 3.10


class Connection:
    """One client: its frames in, its frames out, its streams. `sock`: whoever gave us the descriptors lives as long as it does."""

    def __init__(self, daemon, fd_in, fd_out, sock=None):
        self.daemon, self.sock, self.fd_in, self.fd_out = daemon, sock, fd_in, fd_out
        self.loop = daemon.loop
        self.buffer = b""  # the beginning of a frame whose rest is still to come
        self.partial = None  # (stream id, offset, bytes) of a data frame that is passed on as it comes
        self.in_bulk = False
        self.queue = []
        self.queued = 0
        self.dirty = False
        self.blocked = False
        self.closed = False
        self.readers = {}  # stream id -> Reader or Source: daemon to client
        self.sinks = {}  # stream id -> Sink: client to daemon
        self.follows = {}  # request id -> Follow
        self.jobs = {}  # request id -> something with cancel()
        self.stalled = []  # readers that wait for room in the queue
        for fd in (fd_in, fd_out):
            os.set_blocking(fd, False)
            widen(fd)
        self.loop.watch(fd_in, self.readable, read=True)
        if sock is not None:
            self.loop.watch(sock.fileno(), self.hung_up, read=True)
        self.queue.append(wire.MAGIC)
        self.send(wire.HELLO, 0, wire.dumps(daemon.hello()))

    # -- out

    def send(self, kind, ident, payload=b""):
        if self.closed:
            return
        self.queue.append(wire.HEADER.pack(len(payload), kind, ident) + payload)
        self.queued += 9 + len(payload)
        if not self.dirty:
            self.dirty = True
            self.loop.after.append(self.flush)

    def send_data(self, ident, offset, data):
        if self.closed:
            return
        self.queue.append(wire.HEADER.pack(8 + len(data), wire.DATA, ident) + wire.OFFSET.pack(offset))
        self.queue.append(data)
        self.queued += 17 + len(data)
        if not self.dirty:
            self.dirty = True
            self.loop.after.append(self.flush)

    def is_full(self):
        return self.queued >= FULL_BYTES

    def waiting(self, reader):
        if reader not in self.stalled:
            self.stalled.append(reader)

    def flush(self, _events=0):
        self.dirty = False
        if self.closed:
            return
        queue = self.queue
        while queue:
            try:
                done = os.writev(self.fd_out, queue[:128])
            except BlockingIOError:
                if not self.blocked:
                    self.blocked = True
                    self.loop.watch(self.fd_out, self.flush, write=True)
                return
            except OSError:
                return self.close()
            self.queued -= done
            count = 0
            for part in queue:
                if done < len(part):
                    break
                done -= len(part)
                count += 1
            del queue[:count]
            if done:
                queue[0] = memoryview(queue[0])[done:]
        self.queued = 0
        if self.blocked:
            self.blocked = False
            self.loop.unwatch(self.fd_out)
        if self.stalled:  # in turn, so that one flood does not take all the room
            stalled, self.stalled = self.stalled, []
            for reader in stalled:
                reader.pump()

    # -- in

    def hung_up(self, _events):
        self.close()

    def readable(self, _events):
        if self.partial is not None and self.move():
            return
        # Behind bulk data comes more of it, as a rule: then no more than the header is read, for the rest to be moved.
        space = SCRATCH[:DATA_HEADER_BYTES] if self.in_bulk else SCRATCH
        self.in_bulk = False
        try:
            size = os.readv(self.fd_in, [space])
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            return self.close()
        self.daemon.active()
        try:
            self.take(SCRATCH[:size])
            if self.partial is not None:
                self.move()
        except Exception:
            self.close()  # a client that breaks the protocol is cut off; what it started runs on

    def take(self, view):
        """Frames, out of what came. Bulk data is not gathered: copies are what a transfer would spend its time on."""
        if self.partial is not None:
            view = self.pass_on(view)
        elif self.buffer:
            view = memoryview(b"".join((self.buffer, view)))
        at, size = 0, len(view)
        while size - at >= 9:
            length, kind, ident = wire.HEADER.unpack_from(view, at)
            if length > wire.MAX_PAYLOAD:
                raise Refused("protocol-error", "a frame of %d bytes" % length)
            if kind == wire.DATA and length >= 8 and size - at >= 17:
                self.partial = (ident, wire.OFFSET.unpack_from(view, at + 9)[0], length - 8)
                self.in_bulk = length >= BULK_BYTES
                rest = self.pass_on(view[at + 17 :])
                at = size - len(rest)
            elif size - at - 9 < length:
                break
            else:
                at += 9 + length
                self.frame(kind, ident, bytes(view[at - length : at]))
            if self.closed:
                return
        self.buffer = bytes(view[at:])

    def move(self):
        """Moves what the present data frame has in the pipe to where it belongs. False: it must be read."""
        ident, offset, left = self.partial
        sink = self.sinks.get(ident)
        if not self.in_bulk or splice is None or sink is None or not sink.takes_moves:
            return False
        try:
            sink.check(offset, left)
            done = splice(self.fd_in, sink.fd, left)
        except BlockingIOError:  # nothing to move, or no room for it
            return False
        except OSError:  # a broken pipe, or not a pipe at all
            sink.is_pipe = False
            return False
        except Refused:
            self.close()
            return True
        if done == 0:
            return False
        sink.moved(done)
        self.partial = None if done == left else (ident, offset + done, left - done)
        self.daemon.active()
        return True

    def pass_on(self, view):
        """Gives the present data frame what belongs to it, and back what does not."""
        ident, offset, left = self.partial
        part = view[:left]
        self.partial = None if len(part) == left else (ident, offset + len(part), left - len(part))
        sink = self.sinks.get(ident)
        if sink is not None and (part or not left):
            sink.data(offset, part)
        return view[len(part) :]

    def frame(self, kind, ident, payload):
        if kind == wire.REQUEST:
            self.request(ident, wire.loads(payload))
        elif kind == wire.WINDOW:
            reader = self.readers.get(ident)
            if reader is not None:
                reader.window(wire.OFFSET.unpack_from(payload)[0])
        elif kind == wire.END:
            sink = self.sinks.get(ident)
            if sink is not None:
                sink.end()
        elif kind == wire.RESET:
            sink = self.sinks.get(ident)
            if sink is not None:
                sink.reset()
            reader = self.readers.get(ident)
            if reader is not None:
                reader.drop()
        elif kind == wire.PING:
            self.send(wire.PONG, 0, payload[:8])
        elif kind == wire.NOTIFICATION:
            self.notification(wire.loads(payload))
        elif kind != wire.PONG:
            raise Refused("protocol-error", "unknown frame type %d" % kind)

    def request(self, ident, message):
        def answer(ok=None, refused=None):
            body = {"ok": ok} if refused is None else {"error": refused.error}
            self.send(wire.RESPONSE, ident, wire.dumps(body))

        try:
            handler = HANDLERS.get(message.get("op"))
            if handler is None:
                raise Refused("unsupported", "this exec daemon does not know the request %s" % wire.quoted(str(message.get("op"))))
            handler(self.daemon, self, ident, message, answer)
        except Refused as refused:
            answer(refused=refused)
        except OSError as error:
            answer(refused=wire.from_os_error(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            answer(refused=Refused("invalid-argument", "a malformed request: %r" % (error,)))

    def notification(self, message):
        op = message.get("op")
        if op == "release":
            process = self.daemon.table.processes.get(message.get("processId"))
            if process is not None:
                self.daemon.table.release(process)
        elif op == "unfollow":
            follow = self.follows.get(message.get("request"))
            if follow is not None:
                follow.drop()
        elif op == "cancel":
            job = self.jobs.get(message.get("request"))
            if job is not None:
                job.cancel()

    def close(self):
        if self.closed:
            return
        self.closed = True
        for fd in (self.fd_in, self.fd_out):
            self.loop.unwatch(fd)
        if self.sock is not None:
            self.loop.unwatch(self.sock.fileno())
            self.sock.close()
        for job in tuple(self.jobs.values()):
            job.cancel()
        self.daemon.table.connection_lost(self)
        self.queue = []
        self.stalled = []
        os.close(self.fd_in)
        os.close(self.fd_out)
        self.daemon.connections.discard(self)
        self.daemon.active()


class Daemon:
    def __init__(self, config, listener_fd, expiry_fd, lifeline, any_peer, to_boot, zygote):
        self.config = config
        self.loop = Loop()
        Sink.loop = Source.loop = self.loop
        self.expiry_fd = expiry_fd
        os.set_inheritable(expiry_fd, False)
        self.connections = set()
        self.oom_file = find_oom_file()
        # Deadlines count on the boot clock; the wall clock's moment is what people are told.
        self.expires_at_ms = config["expiresAtMs"]
        self.expires = config["expiresAtMs"] + to_boot
        self.max_expires = config["maxExpiresAtMs"] + to_boot
        if config["supervisor"] == "external":  # it has counted for itself, at another moment; no end is before the one here
            supervisor.write_expiry(expiry_fd, self.expires)
        self.last_active = time.monotonic()
        self.pool = keepers.KeeperPool(self.loop, zygote)
        user = users.resolve(config.get("user"))
        self.make_directory(config["workdir"], user)
        if config.get("home"):
            self.make_directory(config["home"], user)
        self.table = ProcessTable(self.loop, self.pool, config, user, self.base_env(), self.oom_kills, self.slot)
        self.files = None
        self.slots = None
        self.slot_powers = slot_powers.powers(config)
        self.arrivals = Arrivals(self.loop, listener_fd, any_peer, self.connect)
        if lifeline is not None:
            self.loop.watch(lifeline, lambda _events: self.end(), read=True)
        if config.get("idleTimeoutMs"):
            self.loop.later(config["idleTimeoutMs"] / 1000.0, self.check_idle)

    @staticmethod
    def make_directory(path, user):
        missing = []
        while not os.path.isdir(path) and path != "/":
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            try:
                os.mkdir(path, 0o755)
                if user.switch:
                    os.chown(path, user.uid, user.gid)
            except FileExistsError:
                pass

    def base_env(self):
        env = {}
        if self.config["inheritEnv"]:
            env.update(os.environb)
            env.pop(b"HOSTNAME", None)
        for name, value in self.config["env"].items():
            env[wire.to_bytes(name, "env")] = wire.to_bytes(value, "env." + name)
        env.setdefault(b"PATH", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        env.setdefault(b"LANG", b"C.UTF-8")
        return env

    def hello(self):
        return {
            "version": wire.VERSION,
            "sandboxId": self.config["sandboxId"],
            "workdir": self.config["workdir"],
            "killLevel": "lineage",
            "python": "%d.%d.%d" % sys.version_info[:3],
            "pid": os.getpid(),
            "expiresAtMs": self.expires_at_ms,
            "slots": self.slot_powers,
        }

    def oom_kills(self):
        if self.oom_file is None:
            return 0
        try:
            data = os.pread(self.oom_file, 4096, 0).split()
            return int(data[data.index(b"oom_kill") + 1])
        except (OSError, ValueError, IndexError):
            return 0

    def connect(self, fd_in, fd_out, sock=None):
        self.active()
        self.connections.add(Connection(self, fd_in, fd_out, sock))

    def active(self):
        self.last_active = time.monotonic()

    def check_idle(self):
        limit = self.config["idleTimeoutMs"] / 1000.0
        busy = self.table.running() or any(c.sinks or c.readers or c.jobs for c in self.connections)
        if busy:
            self.active()
        left = self.last_active + limit - time.monotonic()
        if left <= 0:
            return self.end()
        self.loop.later(max(left, 0.05), self.check_idle)

    def end(self):
        """Our end is the sandbox's: the supervisor ends whatever is left."""
        self.table.kill_everything()
        os._exit(0)

    # -- requests

    def on_spawn(self, connection, ident, message, answer):
        self.table.spawn(connection, ident, message, answer)

    def on_attach(self, connection, ident, message, answer):
        process = self.table.get(message["processId"])
        self.table.follow(connection, ident, process, message, message["fromStdout"], message["fromStderr"], answer, False)

    def on_signal(self, connection, ident, message, answer):
        process = self.table.get(message["processId"])
        number = SIGNALS.get(message["signal"])
        if number is None:
            raise Refused("invalid-argument", "no such signal: %s" % wire.quoted(str(message["signal"])))
        if process.status is None and process.pid:
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                pass
        answer(ok={})

    def on_kill(self, connection, ident, message, answer):
        self.table.get(message["processId"]).kill(message["reason"], lambda: answer(ok={}))

    def on_resize(self, connection, ident, message, answer):
        process = self.table.get(message["processId"])
        if process.tty < 0:
            raise Refused("invalid-argument", "process %s has no terminal" % process.id)
        self.table.resize_tty(process.tty, message)
        answer(ok={})

    def on_processes(self, connection, ident, message, answer):
        answer(ok=[process.record() for process in self.table.processes.values() if process.pid or process.exit])

    def on_files(self, connection, ident, message, answer):
        import file_jobs

        if self.files is None:
            self.files = file_jobs.FilesHelper(self.loop, self.pool)
        file_jobs.FileJob(self, connection, ident, message, answer)

    def on_slots(self, connection, ident, message, answer):
        import slots

        slots.handle(self, connection, ident, message, answer)

    def slot(self, name):
        """A slot that can be used now."""
        if self.slots is None:
            raise Refused("not-found", "no slot %s in this sandbox" % wire.quoted(str(name)), "make it first")
        return self.slots.ready(name)

    def on_connect(self, connection, ident, message, answer):
        import file_jobs

        file_jobs.Tunnel(self, connection, ident, message, answer)

    def on_stats(self, connection, ident, message, answer):
        import stats

        answer(ok=stats.collect(self))

    def on_extend(self, connection, ident, message, answer):
        timeout_ms = int(message["timeoutMs"])
        ends = self.expires
        wanted = supervisor.boot_ms() + timeout_ms
        if wanted > self.expires:
            at_ms = supervisor.now_ms() + timeout_ms
            self.expires = min(wanted, self.max_expires)
            self.expires_at_ms = max(self.expires_at_ms, min(at_ms, self.config["maxExpiresAtMs"]))
            supervisor.write_expiry(self.expiry_fd, self.expires)
        if supervisor.boot_ms() >= ends:  # the supervisor may have looked before we wrote: nobody can say yes any more
            self.end()
        answer(ok={"expiresAtMs": self.expires_at_ms})

    def on_shutdown(self, connection, ident, message, answer):
        answer(ok={})
        connection.flush()
        self.end()


HANDLERS = {
    name[3:]: getattr(Daemon, name) for name in dir(Daemon) if name.startswith("on_")
}


def find_oom_file():
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass
    return None


def serve(config, listener_fd, expiry_fd, lifeline, any_peer, to_boot, zygote):
    import gc

    daemon = Daemon(config, listener_fd, expiry_fd, lifeline, any_peer, to_boot, zygote)
    gc.freeze()
    daemon.loop.run()
