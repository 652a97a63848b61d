"""The last bytes of one output: in memory first, then in a ring on disk where there is one."""
import os

SEGMENT = 64 * 1024
IN_MEMORY = 1024 * 1024
TAIL = 512 * 1024  # more than what readers may not have read yet


class Journal:
    __slots__ = ("limit", "directory", "base", "end", "segments", "first", "fd", "tail", "tail_at")

    def __init__(self, limit, directory):
        self.limit = limit
        self.directory = directory
        self.base = self.end = 0  # offsets of the first byte kept and of the byte after the last
        self.segments = []  # each SEGMENT long but the last; segments[0] begins at offset `first`
        self.first = 0
        self.fd = -1
        self.tail = b""  # the last chunk appended while on disk, so that a reader that keeps up reads no file
        self.tail_at = 0

    def append(self, data):
        if self.fd < 0 and self.directory and self.end - self.base + len(data) > IN_MEMORY:
            self._spill()
        if self.fd >= 0:
            self._write(data)
            self.tail, self.tail_at = data, self.end
        else:
            view = memoryview(data)
            while view:
                if not self.segments or len(self.segments[-1]) == SEGMENT:
                    if not self.segments:
                        self.first = self.end - (len(data) - len(view))
                    self.segments.append(bytearray())
                part = view[: SEGMENT - len(self.segments[-1])]
                self.segments[-1] += part
                view = view[len(part) :]
        self.end += len(data)
        if self.end - self.base > self.limit:
            self.base = self.end - self.limit
            while self.segments and self.first + SEGMENT <= self.base:
                del self.segments[0]
                self.first += SEGMENT

    def read(self, offset, size):
        """At least one byte of what is kept at offset, at most size."""
        size = min(size, self.end - offset)
        if self.fd >= 0:
            if offset >= self.tail_at:
                at = offset - self.tail_at
                return self.tail if at == 0 and size >= len(self.tail) else self.tail[at : at + size]
            at = offset % self.limit
            return os.pread(self.fd, min(size, self.limit - at), at)
        index, at = divmod(offset - self.first, SEGMENT)
        segment = self.segments[index]
        if at == 0 and len(segment) <= size and index + 1 < len(self.segments) and size > SEGMENT:
            return b"".join(self.segments[index : index + size // SEGMENT])[:size]
        return bytes(memoryview(segment)[at : at + size])

    def _spill(self):
        path = os.path.join(self.directory, b"journal-%d-%d" % (os.getpid(), id(self)))
        try:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            os.unlink(path)  # gone with the daemon, whatever happens
        except OSError:
            self.directory = None
            return
        end, self.end = self.end, self.base
        try:
            at = self.base
            for index, segment in enumerate(self.segments):
                start = max(0, self.base - self.first) if index == 0 else 0
                part = memoryview(segment)[start:]
                self._write_at(part, at)
                at += len(part)
            self.segments = []
        except OSError:
            os.close(self.fd)
            self.fd, self.directory = -1, None
        self.end = end
        self.tail_at = end

    def _write(self, data):
        try:
            self._write_at(memoryview(data), self.end)
        except OSError:  # the disk is full: keep the newest in memory, and say that the rest is gone
            kept, at = bytearray(), max(self.base, self.end - TAIL)
            first = at
            while at < self.end:
                part = self.read(at, self.end - at)
                kept += part
                at += len(part)
            os.close(self.fd)
            self.fd, self.directory = -1, None
            self.base = self.first = first
            kept += data
            self.segments = [bytearray(kept[start : start + SEGMENT]) for start in range(0, len(kept), SEGMENT)]

    def _write_at(self, view, offset):
        if len(view) > self.limit:
            offset += len(view) - self.limit
            view = view[len(view) - self.limit :]
        while view:
            at = offset % self.limit
            done = os.pwrite(self.fd, view[: self.limit - at], at)
            offset += done
            view = view[done:]

    def memory(self):
        return len(self.segments) * SEGMENT if self.fd < 0 else len(self.tail)

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.segments = []
        self.tail = b""
        self.base = self.end
