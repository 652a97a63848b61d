"""A real daemon and a client of a few lines, for tests of what only the daemon can get wrong."""
import json
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
EXECD = os.path.join(HERE, "..", "..", "src", "execd")


class Client:
    def __init__(self, directory=None, start=True, **config):
        self.directory = directory or tempfile.mkdtemp(prefix="anyplace-execd-")
        now = int(time.time() * 1000)
        config = {
            "sandboxId": "test",
            "runDirectory": self.directory + "/run",
            "workdir": self.directory + "/work",
            "env": {},
            "inheritEnv": False,
            "expiresAtMs": now + 60_000,
            "maxExpiresAtMs": now + 60_000,
            "journalBytes": 8 << 20,
            "journalDirectory": self.directory + "/journal",
            "supervisor": "self",
            "ownPidNamespace": False,
            **config,
        }
        with open(EXECD + "/bootstrap.ts") as file:
            loader = re.search(r"const LOADER = `(.*?)`\n", file.read(), re.S).group(1).replace("\\\\", "\\")
        parts = []
        for name in sorted(os.listdir(EXECD + "/daemon")):
            if name.endswith(".py"):
                with open(EXECD + "/daemon/" + name, "rb") as file:
                    parts.append(("module:" + name[:-3], file.read()))
        for name, value in (
            ("run_directory", config["runDirectory"]),
            ("start", "1" if start else "0"),
            ("supervisor", "self"),
            ("wrap", ""),
            ("python", sys.executable),
            ("loader", loader),
            ("config", json.dumps(config)),
        ):
            parts.append((name, value.encode()))
        data = b"".join(b"%s %d\n%s\n" % (name.encode(), len(value), value) for name, value in parts)
        argv = [sys.executable, "-I", "-S", "-c", loader, str(len(data))]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdin.write(data)
        self.process.stdin.flush()
        self.buffer = b""
        self.count = 0
        while b"\x01\n" not in self.buffer:
            self.read()
        self.buffer = self.buffer.split(b"\x01\n", 1)[1]
        self.hello = json.loads(self.next()[2])

    def read(self):
        if not select.select([self.process.stdout], [], [], 20)[0]:
            raise AssertionError("the daemon said nothing for 20 s")
        data = os.read(self.process.stdout.fileno(), 1 << 20)
        if not data:
            raise EOFError
        self.buffer += data

    def next(self):
        """(type, id, payload)"""
        while True:
            if len(self.buffer) >= 9:
                size, kind, ident = struct.unpack(">IBI", self.buffer[:9])
                if len(self.buffer) >= 9 + size:
                    payload, self.buffer = self.buffer[9 : 9 + size], self.buffer[9 + size :]
                    return kind, ident, payload
            self.read()

    def send(self, kind, ident, payload):
        self.process.stdin.write(struct.pack(">IBI", len(payload), kind, ident) + payload)
        self.process.stdin.flush()

    def data(self, ident, offset, data):
        self.send(5, ident, struct.pack(">Q", offset) + data)

    def end(self, ident, offset):
        self.send(6, ident, struct.pack(">Q", offset))

    def ask(self, **message):
        """Sends a request; True stands for a new stream. Gives its id and the streams' ids."""
        self.count += 1
        ident, streams = self.count, {}
        for name in ("stdin", "stdout", "stderr", "input", "output"):
            if message.get(name) is True:
                self.count += 1
                message[name] = streams[name] = self.count
        self.send(2, ident, json.dumps(message).encode())
        return ident, streams

    def spawn(self, *argv, **more):
        message = {"op": "spawn", "argv": list(argv), "stdin": 0, "stdout": True, "stderr": True, "keep": True, **more}
        return self.ask(**message)

    def until(self, kind, ident, seen=None):
        """The payload of that frame; data on the way is collected by stream and its window widened."""
        while True:
            got, at, payload = self.next()
            if got == 5:
                offset = struct.unpack(">Q", payload[:8])[0]
                if seen is not None:
                    seen.setdefault(at, bytearray()).extend(payload[8:])
                self.send(7, at, struct.pack(">Q", offset + len(payload) - 8 + (1 << 20)))
            if got == kind and at == ident:
                return payload if kind in (5, 6) else json.loads(payload)

    def answer(self, **message):
        return self.until(3, self.ask(**message)[0])

    def leave(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)

    def close(self):
        self.ask(op="shutdown")
        try:
            while True:
                self.read()
        except EOFError:
            pass
        self.leave()
