"""What only a running daemon can get wrong. Run by test/execd/daemon.test.ts."""
import json
import os
import shutil
import socket
import struct
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from served import EXECD, Client  # noqa: E402

sys.path.insert(0, os.path.join(EXECD, "daemon"))
import trees  # noqa: E402


class ServedTest(unittest.TestCase):
    def client(self, **options):
        client = Client(**options)
        self.addCleanup(shutil.rmtree, client.directory, ignore_errors=True)
        return client

    def test_a_deadline_in_years(self):
        client = self.client()
        ident, _ = client.spawn("sleep", "0.1", timeoutMs=10 * 365 * 86400 * 1000)
        self.assertEqual(client.until(4, ident)["exitCode"], 0)
        self.assertEqual(client.until(4, client.spawn("true")[0])["exitCode"], 0)
        client.close()

    def test_a_blocked_command_loses_nothing_however_often_the_ring_goes_round(self):
        client = self.client()
        script = "i=0; while [ $i -lt 400 ]; do head -c 65536 /dev/zero | tr '\\0' \"$((i % 8))\"; i=$((i+1)); done"
        ident, streams = client.spawn("sh", "-c", script, onDetachedOverflow="block")
        process = client.until(3, ident)["ok"]["processId"]
        seen = {}
        while len(seen.get(streams["stdout"], b"")) < 10 << 20:
            kind, at, payload = client.next()
            if kind == 5:
                seen.setdefault(at, bytearray()).extend(payload[8:])
                offset = int.from_bytes(payload[:8], "big") + len(payload) - 8
                client.send(7, at, (offset + (1 << 20)).to_bytes(8, "big"))
        first = bytes(seen[streams["stdout"]])
        client.leave()
        time.sleep(1.5)  # it fills the journal, with nobody there, and stops
        again = Client(directory=client.directory, start=False)
        ident, streams = again.ask(
            op="attach", processId=process, stdin=0, stdout=True, stderr=True, fromStdout=len(first), fromStderr=0
        )
        seen = {}
        self.assertIn("ok", again.until(3, ident, seen))
        total = again.until(4, ident, seen)["stdoutBytes"]
        while len(first) + len(seen[streams["stdout"]]) < total:
            again.until(5, streams["stdout"], seen)
        whole = first + bytes(seen[streams["stdout"]])
        self.assertEqual(total, 400 * 65536)
        self.assertEqual(whole, b"".join(b"%d" % (number % 8) * 65536 for number in range(400)))
        again.close()

    def test_who_attaches_takes_the_input_only_by_writing(self):
        one = self.client()
        ident, streams = one.spawn("cat", stdin=True)
        process = one.until(3, ident)["ok"]["processId"]
        one.data(streams["stdin"], 0, b"one")
        two = Client(directory=one.directory, start=False)
        other, _ = two.ask(op="attach", processId=process, stdin=True, stdout=True, stderr=True, fromStdout=0, fromStderr=0)
        self.assertIn("ok", two.until(3, other))
        one.data(streams["stdin"], 3, b"two")
        one.end(streams["stdin"], 6)
        seen = {}
        self.assertEqual(one.until(4, ident, seen)["stdoutBytes"], 6)
        one.close()

    def test_the_end_of_a_terminals_input_comes_after_all_of_it(self):
        client = self.client()
        ident, streams = client.spawn("sh", "-c", "stty -echo; echo ready; wc -c", stdin=True, pty={"columns": 80, "rows": 24})
        seen = {}
        client.until(3, ident, seen)
        while b"ready" not in seen.get(streams["stdout"], b""):
            client.until(5, streams["stdout"], seen)
        text = (b"x" * 99 + b"\n") * 2000
        client.data(streams["stdin"], 0, text)
        client.end(streams["stdin"], len(text))
        client.until(4, ident, seen)
        self.assertIn(b"200000", seen[streams["stdout"]])
        client.close()

    def test_no_descriptor_is_left_of_commands_that_have_ended(self):
        client = self.client()

        def count():
            return len(os.listdir("/proc/%d/fd" % client.hello["pid"]))

        client.until(4, client.spawn("true")[0])
        time.sleep(0.2)  # what is made ahead is there
        before = count()
        for _ in range(10):
            client.until(4, client.spawn("no-such-program", stdin=True)[0])
            client.until(4, client.spawn("true", stdin=True)[0])
            client.until(4, client.spawn("true", stdin=True, pty={"columns": 80, "rows": 24})[0])
        until = time.monotonic() + 10
        while count() > before + 1 and time.monotonic() < until:
            time.sleep(0.01)
        self.assertLessEqual(count(), before + 1)
        client.close()

    def test_a_reader_is_not_forgotten_for_newer_commands(self):
        client = self.client()
        ident, streams = client.spawn("head", "-c", "2000000", "/dev/zero")
        self.assertIn("ok", client.until(3, ident))
        time.sleep(0.5)  # it has ended; the window holds back the rest
        for _ in range(1010):
            other, _ = client.ask(op="spawn", argv=["true"], stdin=0, stdout=0, stderr=0, keep=True)
            while True:
                kind, at, _payload = client.next()
                if kind == 4 and at == other:
                    break
        client.send(7, streams["stdout"], (4_000_000).to_bytes(8, "big"))
        got = 1 << 20
        while got < 2_000_000:
            kind, at, payload = client.next()
            if kind == 5 and at == streams["stdout"]:
                got += len(payload) - 8
        self.assertEqual(got, 2_000_000)
        client.close()

    def test_file_work_goes_on_when_what_does_it_is_killed(self):
        client = self.client()

        def works():
            ident, _ = client.ask(op="files", action="stat", path=".", input=0, output=0)
            self.assertEqual(client.until(3, ident).get("ok", {}).get("type"), "directory")

        def helper_and_waiting():
            """The one child of the zygote that has a child of its own while no command runs."""
            with open(client.directory + "/run/supervisor.pid") as file:
                (daemon,) = trees.children_of(int(file.read().split()[0]))
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                pairs = [(pid, child) for zygote in trees.children_of(daemon) for pid in trees.children_of(zygote) for child in trees.children_of(pid)]
                if len(pairs) == 1:
                    return pairs[0]
                time.sleep(0.01)
            self.fail("no child waits for file work: %r" % (pairs,))

        works()
        for kill in ("waiting", "helper", "both"):
            with self.subTest(kill=kill):
                helper, waiting = helper_and_waiting()
                if kill == "both":
                    os.kill(helper, 19)  # it must not fork another while the waiting one dies; and that one dies with it
                if kill != "helper":
                    os.kill(waiting, 9)
                if kill != "waiting":
                    os.kill(helper, 9)
                time.sleep(0.3)
                for _ in range(5):
                    works()
        with open(client.directory + "/run/log") as file:
            self.assertEqual(file.read(), "")
        client.close()

    def test_whoever_connects_and_says_nothing_holds_nobody_up(self):
        client = self.client()

        def connect(said):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(20)
            sock.connect(client.directory + "/run/execd.sock")
            sock.sendall(said)
            return sock

        silent, wrong = connect(b""), connect(b"\x07")
        self.assertEqual(wrong.recv(1), b"")
        with connect(b"\x02") as direct:
            came = b""
            while b"anyplace-execd\x01\n" not in came:
                came += direct.recv(65536)
            payload = json.dumps({"op": "spawn", "argv": ["echo", "here"], "stdin": 0, "stdout": 2, "stderr": 3, "keep": False}).encode()
            direct.sendall(struct.pack(">IBI", len(payload), 2, 1) + payload)
            while b'"exitCode":0' not in came:
                came += direct.recv(65536)
            self.assertIn(b"here\n", came)
        ident, _ = client.spawn("true")
        self.assertEqual(client.until(4, ident)["exitCode"], 0)
        self.assertEqual(silent.recv(1), b"")  # after five seconds
        with open(client.directory + "/run/log") as file:
            self.assertEqual(file.read(), "")
        client.close()

    def test_a_start_that_somebody_stopped_ends_at_its_deadline(self):
        client = self.client()
        with open(client.directory + "/run/supervisor.pid") as file:
            (daemon,) = trees.children_of(int(file.read().split()[0]))
        ident, _ = client.spawn("true")
        self.assertEqual(client.until(4, ident)["exitCode"], 0)
        (keeper,) = [pid for zygote in trees.children_of(daemon) for pid in trees.children_of(zygote)]
        os.kill(keeper, 19)
        ident, _ = client.spawn("true", timeoutMs=100)
        self.assertEqual(client.until(3, ident)["error"]["code"], "resource-exhausted")
        ident, _ = client.spawn("true")
        self.assertEqual(client.until(4, ident)["exitCode"], 0)
        client.close()

    def test_nobody_is_told_of_more_time_when_the_end_has_come(self):
        ends = int(time.time() * 1000) + 4000
        client = self.client(expiresAtMs=ends, maxExpiresAtMs=ends + 60_000)
        with open(client.directory + "/run/supervisor.pid") as file:
            supervisor = int(file.read().split()[0])
        self.assertGreater(client.answer(op="extend", timeoutMs=4100)["ok"]["expiresAtMs"], ends)
        os.kill(supervisor, 19)  # it may have seen that the time is up, and not have ended us yet
        time.sleep(4.3)
        with self.assertRaises(EOFError):
            client.answer(op="extend", timeoutMs=30_000)
        os.kill(supervisor, 18)
        client.leave()

    def test_pid_one_cannot_be_traced(self):
        client = self.client()
        with open(client.directory + "/run/supervisor.pid") as file:
            supervisor = int(file.read().split()[0])
        self.assertEqual(os.stat("/proc/%d/mem" % supervisor).st_uid, 0)
        script = "import ctypes,os; l=ctypes.CDLL(None,use_errno=True); print(l.ptrace(16,%d,0,0), ctypes.get_errno())" % supervisor
        ident, streams = client.spawn("setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", script)
        seen = {}
        client.until(4, ident, seen)
        if os.geteuid() == 0:  # as root without capabilities
            self.assertEqual(bytes(seen.get(streams["stdout"], b"")).split(), [b"-1", b"1"])
        client.close()


if __name__ == "__main__":
    unittest.main()
