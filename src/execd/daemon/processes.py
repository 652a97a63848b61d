"""Commands: their outputs in journals, who follows them, how they end."""
import errno
import os
import time

import _signal
import trees
import users
import wire
from journal import Journal
from streams import Heir, Sink
from wire import Refused

UNREAD_LIMIT = 256 * 1024
DRAIN_LIMIT = 1024 * 1024
GRACE_SECONDS = 0.05
# Rounds of killing, 20 ms each, after which a keeper that does not report is ended itself.
PATIENCE = 50
KEPT_FINISHED = 1000
KEPT_FINISHED_BYTES = 512 * 1024 * 1024
KEPT_IN_MEMORY_BYTES = 64 * 1024 * 1024
# Of a journal whose command blocks when it is full: room for what is in the pipe when the command ends.
BLOCK_RESERVE = 128 * 1024
SIGNALS = {
    name: int(getattr(_signal, name)) for name in dir(_signal) if name.startswith("SIG") and not name.startswith("SIG_")
}
SIGNAL_NAMES = {}
for _name, _number in SIGNALS.items():
    if _name not in ("SIGCLD", "SIGPOLL", "SIGIOT", "SIGRTMIN", "SIGRTMAX"):
        SIGNAL_NAMES.setdefault(_number, _name)


class Reader:
    """One client's view of one output."""

    __slots__ = ("connection", "ident", "offset", "limit", "output")

    def __init__(self, connection, ident, offset, output):
        self.connection, self.ident, self.offset, self.output = connection, ident, offset, output
        self.limit = offset + wire.INITIAL_WINDOW
        connection.readers[ident] = self
        output.readers.append(self)

    def window(self, limit):
        if limit > self.limit:
            self.limit = limit
            self.pump()
            self.output.adjust()

    def pump(self):
        output = self.output
        journal = output.journal
        while self.offset < journal.end and self.offset < self.limit:
            if self.connection.is_full():
                return self.connection.waiting(self)
            data = journal.read(self.offset, min(self.limit - self.offset, wire.CHUNK))
            self.connection.send_data(self.ident, self.offset, data)
            self.offset += len(data)
        output.adjust()

    def drop(self):
        if self in self.output.readers:
            self.output.readers.remove(self)
        self.connection.readers.pop(self.ident, None)
        self.output.adjust()


class Output:
    __slots__ = ("process", "fd", "journal", "readers", "eof", "discard", "tty", "watched")

    def __init__(self, process, fd, tty=False):
        self.process, self.fd, self.tty = process, fd, tty
        config = process.table.config
        self.journal = Journal(config["journalBytes"], process.table.journal_directory)
        self.readers = []
        self.eof = fd < 0
        self.discard = False
        self.watched = False

    def adjust(self):
        """Reads from the command only while somebody keeps up, or while nobody follows it and dropping is allowed."""
        if self.eof:
            return
        want = True
        if not self.discard:
            end = self.journal.end
            for reader in self.readers:
                if end - reader.offset >= UNREAD_LIMIT:
                    want = False
                    break
            if not self.readers and self.room() <= 0:
                want = False
        if want != self.watched:
            self.watched = want
            self.process.table.loop.watch(self.fd, self.ready, read=want)

    def ready(self, _events):
        self.take()
        self.adjust()

    def room(self):
        """How much may be read while nobody follows."""
        if self.process.overflow != "block":
            return 65536
        journal = self.journal
        reserve = min(BLOCK_RESERVE, journal.limit // 2) if self.process.status is None else 0
        return journal.limit - reserve - (journal.end - journal.base)

    def take(self):
        """One read. True when there may be more."""
        size = 65536 if self.readers or self.discard else min(65536, self.room())
        if size <= 0:
            return False
        try:
            data = os.read(self.fd, size)
        except BlockingIOError:
            return False
        except OSError:  # a terminal whose other side is closed
            data = b""
        if not data:
            self.close()
            self.process.output_ended()
            return False
        if self.discard:
            return True
        self.journal.append(data)
        for reader in tuple(self.readers):
            reader.pump()
        return True

    def close(self):
        if self.fd >= 0:
            self.process.table.loop.unwatch(self.fd)
            if self.tty:
                self.process.tty = -1
            os.close(self.fd)
            self.fd = -1
        self.eof = True
        self.watched = False


class Follow:
    """One spawn or attach request of one client."""

    __slots__ = ("connection", "request", "process", "readers")

    def __init__(self, connection, request, process):
        self.connection, self.request, self.process = connection, request, process
        self.readers = []
        connection.follows[request] = self
        process.follows.append(self)

    def drop(self):
        self.connection.follows.pop(self.request, None)
        if self in self.process.follows:
            self.process.follows.remove(self)
        for reader in self.readers:
            reader.drop()


class Process:
    def __init__(self, table, ident, message):
        self.table = table
        self.id = ident
        self.argv = message["argv"]
        self.key = message.get("key")
        self.keep = bool(message.get("keep"))
        self.overflow = message.get("onDetachedOverflow") or "drop"
        self.pid = 0
        self.keeper = None
        self.began = time.monotonic()
        self.started_at_ms = int(time.time() * 1000)
        self.status = None
        self.exit = None
        self.reason = None
        self.timer = None
        self.grace = None
        self.follows = []
        self.outputs = []
        self.stdin = None
        self.tty = -1
        self.pending = []  # connections and requests that wait for the start
        self.after_kill = []
        self.is_empty = False
        self.oom_before = 0

    # -- reports of the keeper

    def started(self, pid):
        self.pid = pid
        for answer in self.pending:
            answer(None)
        self.pending = []
        for output in self.outputs:
            output.adjust()

    def failed(self, number, where):
        """The command could not be started. As a shell does: 127 when it is not there, 126 when it cannot be run."""
        self.is_empty = True
        for output in self.outputs:
            output.close()
        self.close_stdin()
        if where == 1 or number not in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.ENOTDIR, errno.EPERM, errno.ELOOP, errno.ETXTBSY):
            path = self.cwd if where == 1 else self.argv[0]
            refused = wire.from_os_error(OSError(number, os.strerror(number)), path)
            if where == 1:
                refused.error["message"] = "cannot start in the directory %s: %s" % (wire.quoted(path), os.strerror(number))
            elif number == errno.E2BIG:
                refused = Refused("invalid-argument", "arguments and environment are too long for the system", "pass the data through stdin or a file")
            self.table.forget(self)
            for answer in self.pending:
                answer(refused)
            self.pending = []
            return
        text = "%s: %s\n" % (self.argv[0], "command not found" if number == errno.ENOENT else os.strerror(number))
        self.outputs[-1].journal.append(text.encode("utf-8", "surrogateescape"))
        self.status = (127 if number == errno.ENOENT else 126) << 8
        for answer in self.pending:
            answer(None)
        self.pending = []
        for reader in tuple(self.outputs[-1].readers):
            reader.pump()
        self.finish()

    def exited(self, status):
        self.status = status
        if self.timer is not None:
            self.timer.cancel()
        self.close_stdin()
        # What the command wrote is in the pipes. A child it left behind may hold them open: that shall not delay the end.
        for output in self.outputs:
            taken = 0
            while not output.eof and taken < DRAIN_LIMIT and output.take():
                taken += 65536
        if self.exit is None and self.grace is None:
            if all(output.eof for output in self.outputs):
                self.finish()
            else:
                self.grace = self.table.loop.later(GRACE_SECONDS, self.finish)

    def output_ended(self):
        if self.status is not None and self.exit is None and all(output.eof for output in self.outputs):
            self.finish()

    def emptied(self):
        self.is_empty = True
        self.keeper = None
        self.killed()

    def lost(self):
        self.keeper = None
        self.is_empty = True
        if self.pid == 0 and self.status is None:
            for output in self.outputs:
                output.close()
            self.close_stdin()
            self.table.forget(self)
            refused = Refused("resource-exhausted", "no process could be started in the sandbox", "end some of its processes, or raise pidsLimit")
            answers, self.pending = self.pending, []
            for answer in answers:
                answer(refused)
        elif self.status is None:
            self.exited(9)
        self.killed()

    def finish(self):
        if self.exit is not None:
            return
        if self.grace is not None:
            self.grace.cancel()
        status = self.status
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            code, signal = 128 + number, SIGNAL_NAMES.get(number, "SIG%d" % number)
        else:
            number, code, signal = 0, os.WEXITSTATUS(status), None
        oom = (number == 9 or code == 137) and self.reason is None and self.table.oom_kills() > self.oom_before
        if self.reason == "timeout":
            code = 124
        elif self.reason == "cancel":
            code = 130
        for output in self.outputs:
            if not output.eof:
                output.discard = True
                output.adjust()
        self.exit = {
            "exitCode": code,
            "signal": signal,
            "timedOut": self.reason == "timeout",
            "oomKilled": oom,
            "durationMs": round((time.monotonic() - self.began) * 1000, 3),
            "stdoutBytes": self.outputs[0].journal.end,
            "stderrBytes": self.outputs[1].journal.end if len(self.outputs) > 1 else 0,
        }
        payload = wire.dumps(self.exit)
        for follow in self.follows:
            follow.connection.send(wire.EXIT, follow.request, payload)
        self.table.finished(self)

    # -- what clients ask

    def close_stdin(self):
        if self.stdin is not None:
            self.stdin.close()

    def kill(self, reason, done=None):
        if self.exit is None and self.status is None and self.reason is None:
            self.reason = reason
        if done is not None:
            self.after_kill.append(done)
        self.kill_again()

    def kill_again(self, tries=0):
        if self.is_empty or self.keeper is None:
            return self.killed()
        late = tries > PATIENCE  # a command with our keeper's user has stopped it, or the command's user what was to become it
        if self.keeper.pid and (self.pid or late):
            trees.kill_pass(self.keeper.pid)
            if late:
                trees.send(self.keeper.pid, trees.KILL)
        # The keeper reports when nothing is left; until then something may have been forked behind the walk.
        self.table.loop.later(0.02, lambda: self.kill_again(tries + 1))

    def killed(self):
        done, self.after_kill = self.after_kill, []
        for call in done:
            call()

    def record(self):
        record = {
            "processId": self.id,
            "pid": self.pid,
            "argv": self.argv,
            "startedAtMs": self.started_at_ms,
        }
        if self.exit is not None:
            record["exit"] = self.exit
        return record

    def dispose(self):
        """Forgets the outputs of an exited process."""
        for output in self.outputs:
            for reader in tuple(output.readers):
                reader.drop()
            output.journal.close()
        for follow in tuple(self.follows):
            follow.drop()
        if self.is_empty:
            for output in self.outputs:
                output.close()


def usable_directory(path):
    """Made when missing; None where it cannot be: then journals stay in memory."""
    if not path:
        return None
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError:
        return None
    return os.fsencode(path) if os.access(path, os.W_OK) else None


def output_pipes():
    """(read end, write end) for stdout and for stderr; we never wait at ours."""
    pipes = []
    try:
        for _ in range(2):
            pipes.append(os.pipe2(os.O_CLOEXEC))
            os.set_blocking(pipes[-1][0], False)
    except OSError:
        for fd in sum(pipes, ()):
            os.close(fd)
        raise
    return pipes


def end_of_file(tty):
    """What a terminal's user types to end the input; twice, since the first only ends a line that was begun."""
    import termios

    return termios.tcgetattr(tty)[6][termios.VEOF] * 2


class ProcessTable:
    def __init__(self, loop, pool, config, user, env, oom_kills, slot):
        self.loop, self.pool, self.config = loop, pool, config
        self.slot = slot  # from the name of a slot that can be used to it
        self.base_env = env
        self.user, self.env = user, self.env_of(user, config["env"].get("HOME") or config.get("home"))
        self.spare_pipes = None  # made when there is time, for the next command
        self.oom_kills = oom_kills
        self.workdir = config["workdir"]
        self.journal_directory = usable_directory(config.get("journalDirectory"))
        self.processes = {}
        self.keys = {}
        self.done = {}  # exited and kept, oldest first
        self.done_bytes = 0
        self.count = 0

    def get(self, ident):
        process = self.processes.get(ident)
        if process is None:
            raise Refused("process-not-found", "no process %s in this sandbox" % wire.quoted(str(ident)), "list them with processes()")
        return process

    def running(self):
        return len(self.pool.busy)

    def env_of(self, user, home):
        env = dict(self.base_env)
        env[b"HOME"] = wire.to_bytes(home or user.home, "HOME")
        if user.name and b"USER" not in env:
            env[b"USER"] = env[b"LOGNAME"] = os.fsencode(user.name)
        return env

    def prepare(self):
        """What the next command needs and no request has to wait for."""
        if self.spare_pipes is None:
            try:
                self.spare_pipes = output_pipes()
            except OSError:
                pass  # the next command says so

    # -- spawn and attach

    def spawn(self, connection, request, message, answer):
        key = message.get("key")
        if key is not None and key in self.keys:
            process = self.keys[key]
            return self.follow(connection, request, process, message, 0, 0, answer, True)
        if message.get("onDetachedOverflow") not in (None, "drop", "block"):
            raise Refused("invalid-argument", "onDetachedOverflow is 'drop' or 'block', not %s" % wire.quoted(str(message["onDetachedOverflow"])))
        argv = message.get("argv")
        if not isinstance(argv, list) or not argv:
            raise Refused("invalid-argument", "argv must be a list with at least the program")
        arguments = [wire.to_bytes(word, "argv") for word in argv]
        if not arguments[0]:
            raise Refused("invalid-argument", "argv[0], the program, is empty")
        slot = self.slot(message["slot"]) if message.get("slot") is not None else None
        if slot is not None:
            user, pool, workdir, env = slot.user, slot.keepers, slot.home, slot.base_env()
        else:
            user, pool, workdir = users.resolve(message["user"]) if message.get("user") is not None else self.user, self.pool, self.workdir
            env = dict(self.env) if user is self.user else self.env_of(user, None)
        for name, value in (message.get("env") or {}).items():
            if not name or "=" in name:
                raise Refused("invalid-argument", "not a name of an environment variable: %s" % wire.quoted(name))
            env[wire.to_bytes(name, "env")] = wire.to_bytes(value, "env." + name)
        process = Process(self, "p%d" % (self.count + 1), message)
        env.setdefault(b"TERM", b"xterm-256color" if message.get("pty") else b"dumb")
        process.cwd = os.path.join(workdir, message["cwd"]) if message.get("cwd") else workdir
        cwd = wire.to_bytes(process.cwd, "cwd")
        theirs = []
        try:
            tty = message.get("pty")
            if tty:
                master, slave = os.openpty()
                os.set_inheritable(master, False)
                process.tty = master
                theirs = [slave, slave, slave]
                if user.switch:
                    os.fchown(slave, user.uid, user.gid)
                self.resize_tty(master, tty)
                os.set_blocking(master, False)
                process.outputs = [Output(process, master, True), Output(process, -1)]
            else:
                for read_end, write_end in self.spare_pipes or output_pipes():
                    theirs.append(write_end)
                    process.outputs.append(Output(process, read_end))
                self.spare_pipes = None
            if message.get("stdin"):
                if tty:
                    write_end = os.dup(process.tty)
                else:
                    read_end, write_end = os.pipe2(os.O_CLOEXEC)
                    theirs.insert(0, read_end)
                os.set_blocking(write_end, False)
                process.stdin = Sink(connection, message["stdin"], write_end)
                if tty:
                    process.stdin.last_words = end_of_file(process.tty)
            switch = (user.uid, user.gid, list(user.groups)) if user.switch and slot is None else None
            job = (arguments, env, cwd, switch, bool(tty))
            keeper = pool.take()
            process.keeper = keeper
            try:
                keeper.start(process, job, theirs)
            except OSError:
                keeper.process = None
                keeper.lost()
                raise
            process.oom_before = self.oom_kills()  # it can hardly have begun
        except OSError as error:
            for output in process.outputs:
                output.close()
            if process.stdin is not None:
                process.stdin.close()
            if process.tty >= 0 and not process.outputs:
                os.close(process.tty)
            raise wire.from_os_error(error, None)
        finally:
            for fd in set(theirs):
                os.close(fd)
        self.count += 1
        self.processes[process.id] = process
        if key is not None:
            self.keys[key] = process
        if message.get("timeoutMs"):
            process.timer = self.loop.later(message["timeoutMs"] / 1000.0, lambda: process.kill("timeout"))
        follow = Follow(connection, request, process)
        for output, name in zip(process.outputs, ("stdout", "stderr")):
            if message.get(name):
                follow.readers.append(Reader(connection, message[name], 0, output))

        def when_started(refused):
            if refused is not None:
                answer(refused=refused)
            else:
                answer(ok={"processId": process.id, "pid": process.pid})

        process.pending.append(when_started)
        return process

    def follow(self, connection, request, process, message, from_stdout, from_stderr, answer, existing):
        """Answers, then replays and goes on."""

        def ready(refused):
            if refused is not None:
                return answer(refused=refused)
            wanted, begins = [], []
            for output, name, offset in zip(process.outputs, ("stdout", "stderr"), (from_stdout, from_stderr)):
                ident = message.get(name)
                journal = output.journal
                if offset == "kept":
                    offset = journal.base
                begins.append(offset)
                if not ident:
                    continue
                if offset < journal.base:
                    return answer(
                        refused=Refused(
                            "output-discarded",
                            "%s of process %s is kept from byte %d on; byte %d is gone" % (name, process.id, journal.base, offset),
                            "attach from data.firstOffset",
                            {"firstOffset": journal.base, "stream": name},
                        )
                    )
                if offset > journal.end:
                    return answer(
                        refused=Refused("invalid-argument", "%s of process %s has %d bytes, fewer than %d" % (name, process.id, journal.end, offset))
                    )
                wanted.append((output, ident, offset))
            ok = {"processId": process.id, "pid": process.pid, "argv": process.argv, "pty": process.tty >= 0}
            ok["fromStdout"], ok["fromStderr"] = begins
            if existing:
                ok["existing"] = True
            follow = Follow(connection, request, process)
            follow.readers = [Reader(connection, ident, offset, output) for output, ident, offset in wanted]
            answer(ok=ok)
            if message.get("stdin"):
                if process.stdin is not None:
                    Heir(connection, message["stdin"], process.stdin)
                else:
                    connection.send(wire.RESET, message["stdin"], wire.dumps({"code": "invalid-argument", "message": "the process has no stdin"}))
            for reader in follow.readers:
                reader.pump()
            if process.exit is not None:
                connection.send(wire.EXIT, request, wire.dumps(process.exit))

        if process.pid == 0 and process.status is None:
            process.pending.append(ready)
        else:
            ready(None)

    @staticmethod
    def resize_tty(fd, size):
        import fcntl
        import struct
        import termios

        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", int(size["rows"]), int(size["columns"]), 0, 0))

    # -- the end

    def finished(self, process):
        self.done[process.id] = process
        self.done_bytes += sum(output.journal.end - output.journal.base for output in process.outputs)
        most = KEPT_FINISHED_BYTES if self.journal_directory else KEPT_IN_MEMORY_BYTES
        while len(self.done) > KEPT_FINISHED or self.done_bytes > most:
            oldest = next((p for p in self.done.values() if not p.follows), None)
            if oldest is None:
                break
            self.release(oldest)
        self.loop.after.append(self.prepare)  # behind the flush of what was just said

    def release(self, process):
        if process.exit is None:
            process.keep = False
            return
        if self.done.pop(process.id, None) is not None:
            self.done_bytes -= sum(output.journal.end - output.journal.base for output in process.outputs)
        process.dispose()
        self.forget(process)

    def forget(self, process):
        self.processes.pop(process.id, None)
        if process.key is not None and self.keys.get(process.key) is process:
            del self.keys[process.key]
        for follow in tuple(process.follows):
            follow.drop()

    def connection_lost(self, connection):
        for follow in tuple(connection.follows.values()):
            process = follow.process
            follow.drop()
            if not process.keep and process.stdin is not None and process.stdin.connection is connection:
                process.close_stdin()
        for source in tuple(connection.readers.values()):
            source.drop()
        for sink in tuple(connection.sinks.values()):
            sink.lost()

    def kill_everything(self):
        for process in tuple(self.processes.values()):
            if process.keeper is not None and process.keeper.pid:
                trees.kill_pass(process.keeper.pid)
