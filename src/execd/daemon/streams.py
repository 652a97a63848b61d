"""Streams between a connection and a file descriptor, without a journal: stdin, files, tunnels."""
import os

import wire

PIPE_BYTES = 1024 * 1024
F_SETPIPE_SZ = 1031


def widen(fd):
    """A wider pipe means fewer turns on bulk data; where the kernel's allowance is used up the default will do."""
    import fcntl

    try:
        fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        pass


class Sink:
    """client → daemon: data frames are written to fd in order; windows follow what the fd took."""

    def __init__(self, connection, ident, fd, shutdown=None, is_pipe=False):
        self.connection, self.ident, self.fd = connection, ident, fd
        self.is_pipe = is_pipe  # bulk data can be moved to it inside the kernel
        self.expected = 0
        self.granted = wire.INITIAL_WINDOW
        self.written = 0
        self.queue = []
        self.ended = False
        self.shutdown = shutdown  # half-close of a socket instead of close
        self.last_words = b""  # written when the client has ended the stream and all of it is through
        if connection is not None:
            connection.sinks[ident] = self

    def adopt(self, connection, ident):
        """Another client takes over (attach): its offsets begin at 0, and the old one is told."""
        if self.connection is not None:
            lost = {"code": "conflict", "message": "another client writes to this input now"}
            self.connection.send(wire.RESET, self.ident, wire.dumps(lost))
        self.release()
        self.connection, self.ident = connection, ident
        self.expected = self.written = 0
        self.granted = wire.INITIAL_WINDOW
        self.ended = False
        if self.fd < 0:
            connection.send(wire.RESET, ident, wire.dumps({"code": "sandbox-gone", "message": "the input is closed"}))
        else:
            connection.sinks[ident] = self

    def release(self):
        if self.connection is not None:
            self.connection.sinks.pop(self.ident, None)
            self.connection = None

    def lost(self):
        """The client has gone. A process keeps its input for the next one; the far end of a tunnel is told."""
        if self.shutdown is None:
            self.release()
        else:
            self.reset()

    def check(self, offset, size):
        if offset != self.expected or offset + size > self.granted or self.ended:
            raise wire.Refused("protocol-error", "data outside of the window of stream %d" % self.ident)

    @property
    def takes_moves(self):
        return self.is_pipe and not self.queue and self.fd >= 0

    def moved(self, size):
        self.expected += size
        self.written += size
        self.grant()

    def data(self, offset, payload):
        self.check(offset, len(payload))
        self.expected += len(payload)
        if self.fd < 0:
            return
        if not self.queue:
            payload = self.through(payload)
        if payload:
            self.queue.append(memoryview(bytes(payload)))  # what came is good only now
            self.flush()
        else:
            self.grant()

    def through(self, payload):
        """Writes what the descriptor takes at once; the rest is given back. Faults are left to flush."""
        try:
            done = os.write(self.fd, payload)
        except OSError:
            return payload
        self.written += done
        return payload[done:]

    def end(self):
        self.ended = True
        self.flush()

    def reset(self):
        self.queue = []
        self.close()

    def flush(self, _events=0):
        loop = self.loop
        while self.queue:
            try:
                done = os.write(self.fd, self.queue[0])
            except BlockingIOError:
                loop.watch(self.fd, self.flush, write=True)
                return self.grant()
            except OSError:  # nobody reads any more
                if self.connection is not None:
                    self.connection.send(
                        wire.RESET, self.ident, wire.dumps({"code": "cancelled", "message": "nobody reads this stream"})
                    )
                self.queue = []
                return self.close()
            self.written += done
            if done == len(self.queue[0]):
                del self.queue[0]
            else:
                self.queue[0] = self.queue[0][done:]
        loop.unwatch(self.fd)
        if self.ended and self.last_words:
            self.queue, self.last_words = [memoryview(self.last_words)], b""
            self.flush()
        elif self.ended:
            self.close()
        else:
            self.grant()

    def grant(self):
        limit = self.written + wire.INITIAL_WINDOW
        if self.connection is not None and limit - self.granted >= wire.INITIAL_WINDOW // 4:
            self.granted = limit
            self.connection.send(wire.WINDOW, self.ident, wire.OFFSET.pack(limit))

    def close(self):
        if self.fd >= 0:
            self.loop.unwatch(self.fd)
            fd, self.fd = self.fd, -1
            if self.shutdown is not None:
                self.shutdown()
            else:
                os.close(fd)
        self.release()


class Heir:
    """A client that attached: it takes the input over with the first thing it sends, not by being there."""

    def __init__(self, connection, ident, sink):
        self.connection, self.ident, self.sink = connection, ident, sink
        connection.sinks[ident] = self

    def take_over(self):
        self.connection.sinks.pop(self.ident, None)
        self.sink.adopt(self.connection, self.ident)
        return self.connection.sinks.get(self.ident)

    def data(self, offset, payload):
        sink = self.take_over()
        if sink is not None:
            sink.data(offset, payload)

    def end(self):
        sink = self.take_over()
        if sink is not None:
            sink.end()

    def reset(self):
        self.release()

    def lost(self):
        self.release()

    def release(self):
        self.connection.sinks.pop(self.ident, None)


class Source:
    """daemon → client: what can be read from fd goes out within the client's window."""

    def __init__(self, connection, ident, fd, on_end):
        self.connection, self.ident, self.fd = connection, ident, fd
        self.offset = 0
        self.limit = wire.INITIAL_WINDOW
        self.on_end = on_end  # called once: at end of file, on an error, or when the client no longer wants it
        connection.readers[ident] = self
        self.watch()

    def watch(self):
        self.loop.watch(self.fd, self.ready, read=True)

    def window(self, limit):
        if limit > self.limit:
            self.limit = limit
            self.pump()

    def pump(self):
        if self.fd >= 0:
            self.ready(0)

    def ready(self, _events):
        for _ in range(4):
            if self.fd < 0:
                return
            room = min(self.limit - self.offset, wire.CHUNK)
            if room <= 0:
                return self.loop.unwatch(self.fd)
            if self.connection.is_full():
                self.loop.unwatch(self.fd)
                return self.connection.waiting(self)
            try:
                data = os.read(self.fd, room)
            except BlockingIOError:
                return self.watch()
            except OSError as error:
                broken = {"code": "connection-lost", "message": error.strerror or "it broke off"}
                self.connection.send(wire.RESET, self.ident, wire.dumps(broken))
                return self.finish()
            if not data:
                self.connection.send(wire.END, self.ident, wire.OFFSET.pack(self.offset))
                return self.finish()
            self.connection.send_data(self.ident, self.offset, data)
            self.offset += len(data)
        self.watch()

    def drop(self):
        self.finish()

    def finish(self):
        if self.fd >= 0:
            self.loop.unwatch(self.fd)
            self.fd = -1
            self.connection.readers.pop(self.ident, None)
            self.on_end()
