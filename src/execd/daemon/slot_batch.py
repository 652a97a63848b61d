"""Many commands of many slots as one request: each slot's keeper works its list off by itself, and their records go out as they come."""
import os
import time

import slot_keeper
import trees
import wire
from wire import Refused

MOST_QUEUED = 4 * 1024 * 1024
HEAD = slot_keeper.RECORD
LATITUDE_SECONDS = 2
MOST_OUTPUT = 64 * 1024 * 1024
LATE = {"code": "timeout", "message": "the batch's time was up before the command began"}


class Batch:
    """The stream of records to one client. As a Source: within its window, and it ends with `end` and then the response."""

    def __init__(self, daemon, connection, ident, message, answer):
        self.daemon, self.connection, self.ident, self.answer = daemon, connection, ident, answer
        self.stream = message["output"]
        self.offset = 0
        self.limit = wire.INITIAL_WINDOW
        self.queue = []
        self.queued = 0
        self.over = False
        self.oom_kills = daemon.table.oom_kills()
        timeout = message.get("timeoutMs")
        deadline = time.monotonic() + timeout / 1000.0 if timeout else None
        lists = {}
        refused = []
        for index, command in enumerate(message["commands"]):
            try:
                lists.setdefault(command["slot"], []).append(self.checked(index, command))
            except Refused as error:
                refused.append((index, error.error))
        runs = []
        for name, commands in lists.items():
            try:
                runs.append(SlotRun(self, daemon.slots.ready(name), commands, deadline, message.get("env")))
            except Refused as error:
                refused += [(command[0], error.error) for command in commands]
        self.running = set(runs)
        connection.jobs[ident] = self
        connection.readers[self.stream] = self
        for index, error in refused:
            self.fail(index, error)
        for run in runs:
            run.enqueue()
        if deadline is not None:
            daemon.loop.later(deadline - time.monotonic(), self.expire)
        self.pump()

    @staticmethod
    def checked(index, command):
        argv = command.get("argv")
        if not isinstance(argv, list) or not argv or not argv[0]:
            raise Refused("invalid-argument", "argv must be a list that begins with a program")
        words = [wire.to_bytes(word, "argv") for word in argv]
        env = None
        if command.get("env"):
            env = {}
            for name, value in command["env"].items():
                if not name or "=" in name:
                    raise Refused("invalid-argument", "not a name of an environment variable: %s" % wire.quoted(name))
                env[wire.to_bytes(name, "env")] = wire.to_bytes(value, "env." + name)
        cwd = wire.to_bytes(command["cwd"], "cwd") if command.get("cwd") else None
        given = command["input"].encode("utf-8", "surrogateescape") if command.get("input") else None
        timeout = command["timeoutMs"] / 1000.0 if command.get("timeoutMs") else None
        most = min(int(command.get("maxOutputBytes", 1 << 20)), MOST_OUTPUT)
        return [index, words, env, cwd, given, timeout, most]

    # -- records

    def record(self, head, body):
        index, kind, flags, code, took, out, err, name = head
        if code == 137 and not flags & slot_keeper.TIMED_OUT:
            now = self.daemon.table.oom_kills()
            if now > self.oom_kills:
                self.oom_kills = now
                flags |= slot_keeper.OOM_KILLED
        self.put(HEAD.pack(index, kind, flags, code, took, out, err, name) + body)

    def fail(self, index, error):
        text = wire.dumps(error)
        self.put(HEAD.pack(index, 1, 0, 0, 0.0, len(text), 0, 0))
        self.put(text)

    def put(self, data):
        if data and not self.over:
            self.queue.append(memoryview(data))
            self.queued += len(data)

    def expire(self):
        """What still waits for another batch's commands; what runs is ended by its keeper."""
        for run in tuple(self.running):
            if run in run.slot.queue:
                run.slot.queue.remove(run)
                run.end(LATE)

    # -- as a reader of the connection

    def window(self, limit):
        if limit > self.limit:
            self.limit = limit
            self.pump()

    def pump(self):
        while self.queue:
            room = min(self.limit - self.offset, wire.CHUNK)
            if room <= 0:
                return
            if self.connection.is_full():
                return self.connection.waiting(self)
            parts, size = [], 0
            while self.queue and size < room:
                part = self.queue[0]
                if len(part) > room - size:
                    self.queue[0] = part[room - size :]
                    part = part[: room - size]
                else:
                    del self.queue[0]
                parts.append(part)
                size += len(part)
            self.connection.send_data(self.stream, self.offset, b"".join(parts))
            self.offset += size
            self.queued -= size
        for run in self.running:
            run.adjust()
        if not self.running and not self.over:
            self.finish()

    def finish(self):
        self.over = True
        self.connection.readers.pop(self.stream, None)
        self.connection.send(wire.END, self.stream, wire.OFFSET.pack(self.offset))
        if self.connection.jobs.pop(self.ident, None) is not None:
            self.answer(ok={})

    def drop(self):
        self.cancel()

    def cancel(self):
        if self.over:
            return
        self.over = True
        self.queue = []
        self.connection.readers.pop(self.stream, None)
        if self.connection.jobs.pop(self.ident, None) is not None:
            self.answer(refused=Refused("cancelled", "the batch was cancelled"))
        for run in tuple(self.running):
            run.stop()

    def done(self, run):
        self.running.discard(run)
        if not self.over:
            self.pump()


class SlotRun:
    """The commands of one slot in one batch. A keeper that finds something left behind keeps that, and the next goes on."""

    def __init__(self, batch, slot, commands, deadline, env):
        self.batch, self.slot, self.commands, self.deadline = batch, slot, commands, deadline
        self.loop = batch.daemon.loop
        self.env = slot.base_env()
        for name, value in (env or {}).items():
            self.env[wire.to_bytes(name, "env")] = wire.to_bytes(value, "env." + name)
        home = os.fsencode(slot.home)
        for command in commands:
            if command[3]:
                command[3] = os.path.join(home, command[3])
        self.fd = -1
        self.buffer = bytearray()
        self.keeper = None
        self.watched = False
        self.held = None
        self.timer = None
        self.over = False

    def enqueue(self):
        """Commands of one slot run one after another, those of two batches too."""
        if self.slot.batch is None:
            self.slot.batch = self
            self.start()
        else:
            self.slot.queue.append(self)

    def start(self, again=True):
        if self.slot.state != "ready":
            return self.end({"code": "conflict", "message": "slot %s was reset" % wire.quoted(self.slot.name)})
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            self.keeper = self.slot.keepers.take()
            self.fd = read_end
            os.set_blocking(read_end, False)
            job = ("batch", [tuple(command) for command in self.commands], self.env, os.fsencode(self.slot.home), self.deadline)
            self.held = Held(self)
            self.keeper.start(self.held, job, [write_end])
        except OSError as error:
            os.close(read_end)
            self.fd = -1
            if self.keeper is not None:
                self.keeper.process = None
                self.keeper.lost()
                self.keeper = None
                if again:
                    return self.start(False)  # it had been killed while it was idle
            return self.end(wire.from_os_error(error).error)
        finally:
            os.close(write_end)
        self.watched = True
        self.since = time.monotonic()
        self.loop.watch(read_end, self.readable, read=True)
        if self.timer is None and (self.deadline is not None or any(command[5] is not None for command in self.commands)):
            self.watch_over()

    def adjust(self):
        if self.fd >= 0:
            want = self.batch.queued < MOST_QUEUED
            if want != self.watched:
                self.watched = want
                self.loop.watch(self.fd, self.readable, read=want)

    def readable(self, _events):
        try:
            data = os.read(self.fd, 1 << 18)
        except BlockingIOError:
            return
        if not data:
            return self.ended()
        buffer = self.buffer
        buffer += data
        at = 0
        while len(buffer) - at >= HEAD.size:
            head = HEAD.unpack_from(buffer, at)
            size = head[5] + head[6] + head[7]
            if len(buffer) - at - HEAD.size < size:
                break
            body = bytes(memoryview(buffer)[at + HEAD.size : at + HEAD.size + size])
            at += HEAD.size + size
            command = self.commands.pop(0)
            if head[1] == 0:
                self.batch.record(head, body)
            else:
                self.failed(command, head[3], body)
            self.since = time.monotonic()
        del buffer[:at]
        self.batch.pump()

    def due(self):
        """When the first command of the list must have a result, or None. The keeper sees to that, if it can."""
        timeout = self.commands[0][5]
        ends = [moment for moment in (self.deadline, None if timeout is None else self.since + timeout) if moment is not None]
        return min(ends) + LATITUDE_SECONDS if ends else None

    def watch_over(self):
        """A command can stop the keeper, whose user it has: then we end both."""
        self.timer = None
        if self.over or self.fd < 0 or not self.commands:
            return
        due = self.due()
        if due is None:
            self.timer = self.loop.later(LATITUDE_SECONDS, self.watch_over)  # another command may have a deadline
        elif due > time.monotonic():
            self.timer = self.loop.later(due - time.monotonic(), self.watch_over)
        elif self.batch.queued >= MOST_QUEUED:
            self.timer = self.loop.later(LATITUDE_SECONDS, self.watch_over)  # it waits for the client
        else:
            self.batch.put(HEAD.pack(self.commands.pop(0)[0], 0, slot_keeper.TIMED_OUT, 124, 0.0, 0, 0, 7) + b"SIGKILL")
            self.held.left = True
            self.end_keeper(self.keeper)

    def failed(self, command, number, where):
        """It could not be started. As a shell does: 127 when it is not there, 126 when it cannot be run."""
        import errno

        index, argv = command[0], command[1]
        program = wire.to_text(argv[0])
        if where == b"deadline":
            return self.batch.fail(index, LATE)
        if where == b"cwd":
            error = wire.from_os_error(OSError(number, os.strerror(number)), wire.to_text(command[3] or b""))
            error.error["message"] = "cannot start in the directory " + error.error["message"]
        elif number in (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.EISDIR, errno.ENOTDIR, errno.EPERM, errno.ELOOP, errno.ETXTBSY):
            missing = number == errno.ENOENT
            text = ("%s: %s\n" % (program, "command not found" if missing else os.strerror(number))).encode("utf-8", "surrogateescape")
            self.batch.put(HEAD.pack(index, 0, 0, 127 if missing else 126, 0.0, 0, len(text), 0) + text)
            return
        elif number == errno.EAGAIN:
            error = Refused("resource-exhausted", "no process could be started in slot %s" % wire.quoted(self.slot.name), "end some of its processes, or raise its pidsLimit")
        elif number == errno.E2BIG:
            error = Refused("invalid-argument", "arguments and environment are too long for the system", "pass the data through input or a file")
        else:
            error = wire.from_os_error(OSError(number, os.strerror(number)), program)
        self.batch.fail(index, error.error)

    def ended(self):
        self.loop.unwatch(self.fd)
        os.close(self.fd)
        self.fd = -1
        self.keeper = None
        if not self.over:
            self.go_on()

    def go_on(self):
        """The list's pipe has ended: all done, or the keeper stays with what a command left behind, or it was killed."""
        if self.commands and self.held.left and self.slot.state == "ready":
            return self.start()
        if self.commands and not self.held.told:
            return  # the keeper's word is on its way
        if self.commands and self.slot.state == "ready":
            # A command killed all that has its user, the keeper with it; that one is over, as `run` would tell it.
            self.batch.put(HEAD.pack(self.commands.pop(0)[0], 0, 0, 137, 0.0, 0, 0, 7) + b"SIGKILL")
            if self.commands:
                return self.start()
            self.batch.pump()
        self.end({"code": "process-not-found", "message": "slot %s was reset" % wire.quoted(self.slot.name)})

    def end(self, error):
        """error: for the commands that have no result."""
        if self.over:
            return
        self.over = True
        for command in self.commands:
            self.batch.fail(command[0], error)
        self.commands = []
        if self.slot.batch is self:
            self.slot.batch = self.slot.queue.pop(0) if self.slot.queue else None
            if self.slot.batch is not None:
                self.slot.batch.start()
        self.batch.done(self)

    def stop(self):
        """Nobody wants the rest: the keeper ends with what it runs."""
        self.commands = []
        if self in self.slot.queue:
            self.slot.queue.remove(self)
        if self.keeper is not None:
            self.end_keeper(self.keeper)
        if self.fd >= 0:
            self.loop.unwatch(self.fd)
            os.close(self.fd)
            self.fd = -1
        self.end(None)

    def end_keeper(self, keeper):
        """Stopped first, so that it begins nothing more."""
        if not keeper.pid and not keeper.closed:
            self.loop.later(0.005, lambda: self.end_keeper(keeper))
        elif not keeper.closed:
            trees.send(keeper.pid, trees.STOP)
            trees.kill_pass(keeper.pid)
            trees.send(keeper.pid, trees.KILL)


class Held:
    """What a keeper reports to while it works a list off, and after that while it keeps what a command left behind."""

    def __init__(self, run):
        self.run = run
        self.left = self.told = False

    def tell(self):
        self.told = True
        run = self.run
        if run.held is self and run.fd < 0 and not run.over:
            run.go_on()

    def left_behind(self):
        self.left = True
        self.tell()

    def emptied(self):
        self.tell()

    def lost(self):
        self.tell()
