"""The daemon's parts by themselves, with the standard library's unittest. Run by test/execd/daemon.test.ts."""
import io
import json
import marshal
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from unittest import mock

import _socket

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "execd", "daemon"))
sys.dont_write_bytecode = True

import journal  # noqa: E402
import keepers  # noqa: E402
import starting  # noqa: E402
import stats  # noqa: E402
import tar  # noqa: E402
import trees  # noqa: E402
import users  # noqa: E402
import wire  # noqa: E402


class JournalTest(unittest.TestCase):
    def check(self, directory, seed):
        chance = random.Random(seed)
        limit = chance.choice([1000, 70_000, 3_000_000])
        kept = journal.Journal(limit, directory)
        everything = bytearray()
        for _ in range(chance.randrange(1, 80)):
            data = chance.randbytes(chance.choice([1, 20, 4096, 65536, 65536]))
            kept.append(data)
            everything += data
            self.assertEqual(kept.end, len(everything))
            self.assertEqual(kept.base, max(0, len(everything) - limit))
            at = chance.randrange(kept.base, kept.end)
            part = kept.read(at, 1 << 20)
            self.assertGreater(len(part), 0)
            self.assertEqual(part, bytes(everything[at : at + len(part)]))
        whole, at = bytearray(), kept.base
        while at < kept.end:
            part = kept.read(at, 256 * 1024)
            whole += part
            at += len(part)
        self.assertEqual(whole, everything[kept.base :])
        kept.close()

    def test_memory_holds_the_last_bytes(self):
        for seed in range(40):
            self.check(None, seed)

    def test_the_ring_on_disk_holds_the_last_bytes(self):
        with tempfile.TemporaryDirectory() as directory:
            for seed in range(40):
                self.check(os.fsencode(directory), seed)
            self.assertEqual(os.listdir(directory), [], "a journal file has a name: it would outlive the daemon")

    def test_a_full_disk_keeps_the_newest_and_says_what_is_gone(self):
        with tempfile.TemporaryDirectory() as directory:
            kept = journal.Journal(8 << 20, os.fsencode(directory))
            kept.append(bytes(2 << 20))
            self.assertGreaterEqual(kept.fd, 0)
            os.close(kept.fd)
            kept.fd = os.open("/dev/full", os.O_RDWR)
            kept.append(b"x" * 100_000)
            self.assertEqual(kept.base, (2 << 20) - journal.TAIL)
            self.assertEqual(kept.read(kept.base, 10), bytes(10))
            self.assertEqual(kept.read(2 << 20, 10), b"x" * 10)
            kept.append(b"y" * 10)
            self.assertEqual(kept.read(kept.end - 10, 10), b"y" * 10)


class WireTest(unittest.TestCase):
    def test_json_as_the_library_has_it(self):
        chance = random.Random(7)

        def value(depth):
            kind = chance.randrange(7 if depth < 4 else 5)
            if kind == 0:
                return chance.choice([None, True, False])
            if kind == 1:
                return chance.randrange(-(1 << 60), 1 << 60)
            if kind == 2:
                return chance.random() * 1e9
            if kind < 5:
                return "".join(chr(chance.choice([65, 34, 92, 10, 0x7F, 0xE9, 0xDC80, 0xDCFF, 0x1F600])) for _ in range(chance.randrange(9)))
            if kind == 5:
                return [value(depth + 1) for _ in range(chance.randrange(4))]
            return {"k%d" % index: value(depth + 1) for index in range(chance.randrange(4))}

        for _ in range(2000):
            one = value(0)
            self.assertEqual(json.loads(wire.dumps(one)), one)
            self.assertEqual(wire.loads(json.dumps(one).encode()), one)

    def test_broken_json_is_refused(self):
        for text in (b"", b"{", b'{"a":1}x', b"nul", b'"\xff"'):
            with self.assertRaises((ValueError, StopIteration, UnicodeError)):
                wire.loads(text)

    def test_nul_is_refused(self):
        with self.assertRaises(wire.Refused):
            wire.to_bytes("a\0b", "argv")
        self.assertEqual(wire.to_bytes("\udcff", "argv"), b"\xff")


class TarTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.base = os.fsencode(self.directory.name)

    def unpack(self, archive, into, as_file=False):
        path = os.path.join(self.base, b"archive")
        with open(path, "wb") as file:
            file.write(archive)
        fd = os.open(path, os.O_RDONLY)
        try:
            return tar.unpack(os.path.join(self.base, into), fd, as_file, False)
        finally:
            os.close(fd)

    def pack(self, root, exclude=()):
        path = os.path.join(self.base, b"packed")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            result = tar.pack(root, fd, list(exclude))
        finally:
            os.close(fd)
        with open(path, "rb") as file:
            return result, file.read()

    @staticmethod
    def archive(*members, fmt=tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=fmt) as into:
            for name, kind, content, link in members:
                member = tarfile.TarInfo(name)
                member.type, member.size, member.linkname = kind, len(content), link
                into.addfile(member, io.BytesIO(content))
        return out.getvalue()

    def test_there_and_back(self):
        chance = random.Random(3)
        root = os.path.join(self.base, b"tree")
        os.makedirs(root)
        names = [b"a b", b"-rf", b"new\nline", "\u00e9".encode(), b"\xff\xfe", b"l" * 150, b"$(x)", b"..x", b"q'\""]
        for name in names:
            os.makedirs(os.path.join(root, b"d" + name, b"deep"))
            path = os.path.join(root, b"d" + name, b"deep", name)
            with open(path, "wb") as file:
                file.write(chance.randbytes(chance.choice([0, 1, 511, 512, 513, 70_000])))
            os.chmod(path, chance.choice([0o600, 0o755, 0o444]))
            os.utime(path, (1_600_000_000, chance.randrange(1_000_000_000)))
        os.symlink(b"/etc/passwd", os.path.join(root, b"link"))
        os.symlink(b"l" * 150, os.path.join(root, b"long-link"))
        result, data = self.pack(root)
        self.assertEqual(result["files"], len(names) + 2)
        with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape", encoding="utf-8") as check:
            self.assertEqual(len(check.getmembers()), 1 + 2 * len(names) + len(names) + 2)
        self.unpack(data, b"back")
        back = os.path.join(self.base, b"back")
        found = subprocess.run(["diff", "-r", "--no-dereference", root, back], capture_output=True)
        self.assertEqual((found.returncode, found.stdout), (0, b""))
        for name in names:
            one, two = (os.stat(os.path.join(where, b"d" + name, b"deep", name)) for where in (root, back))
            self.assertEqual((one.st_mode, int(one.st_mtime)), (two.st_mode, int(two.st_mtime)))
        result, data = self.pack(root, [b"da b"])
        self.assertEqual(result["files"], len(names) + 1)

    def test_nothing_is_written_outside(self):
        outside = os.path.join(self.base, b"outside")
        os.makedirs(outside)
        regular, link, hard = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
        hostile = [
            [("/" + os.fsdecode(outside) + "/x", regular, b"x", "")],
            [("../outside/x", regular, b"x", "")],
            [("a/../../outside/x", regular, b"x", "")],
            [("way", link, b"", os.fsdecode(outside)), ("way/x", regular, b"x", "")],
            [("way", link, b"", os.fsdecode(outside)), ("way/deep/x", regular, b"x", "")],
            [("way", hard, b"", "../outside"), ("y", regular, b"x", "")],
            [("device", tarfile.CHRTYPE, b"", "")],
            [("fifo", tarfile.FIFOTYPE, b"", "")],
        ]
        for number, members in enumerate(hostile):
            with self.assertRaises((wire.Refused, OSError), msg=str(members)) as caught:
                self.unpack(self.archive(*members), b"into-%d" % number)
            if isinstance(caught.exception, wire.Refused):
                self.assertEqual(caught.exception.error["code"], "unsafe-archive")
            self.assertEqual(os.listdir(outside), [])
        self.assertEqual(len(hostile), 8)

    def test_a_file_replaces_a_link_and_does_not_follow_it(self):
        outside = os.path.join(self.base, b"victim")
        with open(outside, "wb") as file:
            file.write(b"old")
        os.makedirs(os.path.join(self.base, b"into"))
        os.symlink(outside, os.path.join(self.base, b"into", b"x"))
        self.unpack(self.archive(("x", tarfile.REGTYPE, b"new", "")), b"into")
        with open(outside, "rb") as file:
            self.assertEqual(file.read(), b"old")
        self.assertFalse(os.path.islink(os.path.join(self.base, b"into", b"x")))

    def test_cut_and_damaged_archives_are_refused(self):
        good = self.archive(("x", tarfile.REGTYPE, b"y" * 5000, ""))
        for bad in (good[:700], good[:100], b"", b"z" * 1024, good[:148] + b"0000000\0" + good[156:]):
            with self.assertRaises(wire.Refused):
                self.unpack(bad, b"into")
        self.assertEqual([name for name in os.listdir(os.path.join(self.base, b"into")) if name.startswith(b".anyplace")], [])

    def test_a_deep_tree(self):
        root = os.path.join(self.base, b"deep")
        os.makedirs(os.path.join(root, *([b"d"] * 300)))
        with open(os.path.join(root, *([b"d"] * 300), b"f"), "wb") as file:
            file.write(b"x")
        _, data = self.pack(root)
        self.assertEqual(self.unpack(data, b"deep-back")["files"], 1)
        self.assertTrue(os.path.isfile(os.path.join(self.base, b"deep-back", *([b"d"] * 300), b"f")))

    def test_hard_links_within(self):
        members = [("a/b/x", tarfile.REGTYPE, b"one", ""), ("c/d/y", tarfile.LNKTYPE, b"", "a/b/x")]
        self.unpack(self.archive(*members), b"hard")
        with open(os.path.join(self.base, b"hard/c/d/y"), "rb") as file:
            self.assertEqual(file.read(), b"one")

    def test_many_directories(self):
        members = [("d%d/e/f" % index, tarfile.REGTYPE, b"1", "") for index in range(300)]
        for fmt in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
            self.assertEqual(self.unpack(self.archive(*members, fmt=fmt), b"many")["files"], 300)


class TreesTest(unittest.TestCase):
    def test_everything_below_is_killed_however_it_hides(self):
        keepers.prctl(keepers.PR_SET_CHILD_SUBREAPER, 1)
        mark = "31%d" % os.getpid()
        script = "(setsid sh -c 'trap \"\" TERM; env -i sleep %s' &); (sh -c 'setsid sh -c \"sleep %s & sleep %s\" &' &); sleep %s" % ((mark,) * 4)
        process = subprocess.Popen(["sh", "-c", script])

        def count():
            return len([pid for pid in trees.descendants(os.getpid()) if (trees.stat_of(pid) or (0, b"Z"))[1] not in (b"Z", b"X")])

        deadline = time.monotonic() + 10
        while count() < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        self.assertGreaterEqual(count(), 6)
        while trees.kill_pass(os.getpid()):
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                break
        process.returncode = 0
        left = []
        for name in os.listdir("/proc"):
            try:
                with open("/proc/%s/cmdline" % name, "rb") as file:
                    if mark.encode() in file.read():
                        left.append(name)
            except OSError:
                pass
        self.assertEqual(left, [])

    def test_a_process_that_goes_by_itself_is_not_waited_for(self):
        walks, signals = [], []

        def children(pid):
            if pid == 10:
                walks.append(pid)
            return [11] if pid == 10 and len(walks) == 1 else []

        state = (10, b"R", 0, 0, 0)  # it was about to stop, and its parent has reaped it
        with mock.patch.multiple(trees, _HAS_CHILDREN=True, children_of=children, stat_of=lambda _pid: state, send=lambda *sent: signals.append(sent)):
            trees.kill_pass(10)
        self.assertEqual(len(walks), 2)
        self.assertEqual(signals, [(11, trees.STOP)])


class ZygoteTest(unittest.TestCase):
    def test_no_command_gets_what_its_starters_had_open(self):
        ends = os.pipe()
        for end in ends:
            os.set_inheritable(end, True)
        zygote = keepers.Zygote()
        for turn in range(2):
            keeper = zygote.order(b"k")
            self.assertEqual(keeper.recv(9, _socket.MSG_WAITALL)[:1], b"R")
            out_read, out_write = os.pipe()
            job = marshal.dumps(([b"sh", b"-c", b"ls /proc/$$/fd"], StartingTest.ENV, b"/", None, False))
            keepers.send_fds(keeper, len(job).to_bytes(4, "big") + job, [os.open(os.devnull, os.O_RDONLY), out_write, out_write])
            os.close(out_write)
            with os.fdopen(out_read, "rb") as file:
                self.assertLessEqual(set(file.read().split()), {b"0", b"1", b"2", b"10"}, "10 is the shell's own")
            keeper.close()
            # One that somebody killed is made again, by then from a daemon with more of its own.
            os.kill(zygote.pid, 9)
            os.waitpid(zygote.pid, 0)
        for end in ends:
            os.close(end)
        zygote.sock.close()


class StartingTest(unittest.TestCase):
    """How commands are started, by posix_spawn and, where the C library cannot, by fork and exec."""

    ENV = {b"PATH": os.fsencode(os.environ.get("PATH", os.defpath))}
    SHOW = b"cat /proc/self/status; cut -d' ' -f1,5,6 /proc/$$/stat; pwd"

    def started(self, argv, env=None, cwd=b"/tmp", **options):
        """(status, output)"""
        out_read, out_write = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            pid = starting.start(argv, self.ENV if env is None else env, cwd, (null, out_write, out_write), **options)
        finally:
            os.close(out_write)
            os.close(null)
        with os.fdopen(out_read, "rb") as file:
            output = file.read()
        return os.waitpid(pid, 0)[1], output

    def both(self, check):
        for spawn in (True, False):
            starting.SPAWN_SETS_SESSIONS = spawn
            try:
                with self.subTest(spawn=spawn):
                    check()
            finally:
                starting.SPAWN_SETS_SESSIONS = True

    def test_the_place_and_the_session(self):
        def check():
            status, output = self.started([b"sh", b"-c", self.SHOW])
            lines = output.decode().splitlines()
            self.assertEqual(status, 0)
            pid, _group, session = lines[-2].split()
            self.assertEqual((pid, lines[-1]), (session, "/tmp"))
            self.assertEqual(os.getcwd(), "/")

        self.both(check)

    def test_another_user_is_that_user_for_good(self):
        if os.geteuid() != 0:
            with self.assertRaises(starting.NotStarted) as caught:
                self.started([b"true"], switch=(65534, 65534, [65534]))
            self.assertEqual(caught.exception.number, 1)
            return

        def check():
            mine = (os.getresuid(), os.getresgid(), os.getgroups())
            status, output = self.started([b"sh", b"-c", self.SHOW], switch=(1234, 1235, [1235, 1236]))
            fields = dict(line.split(":", 1) for line in output.decode().splitlines() if ":" in line)
            self.assertEqual(status, 0)
            self.assertEqual(fields["Uid"].split(), ["1234"] * 4)
            self.assertEqual(fields["Gid"].split(), ["1235"] * 4)
            self.assertEqual(fields["Groups"].split(), ["1235", "1236"])
            self.assertEqual([int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")], [0, 0, 0])
            self.assertEqual((os.getresuid(), os.getresgid(), os.getgroups()), mine)
            back = b"import os\nfor call in (os.setuid, os.setgid, os.seteuid):\n try: call(0)\n except PermissionError: print('refused')"
            self.assertEqual(self.started([b"python3", b"-c", back], switch=(1234, 1235, [1235]))[1].split(), [b"refused"] * 3)
            with self.assertRaises(starting.NotStarted):
                self.started([b"no-such-program"], switch=(1234, 1235, [1235]))
            self.assertEqual((os.getresuid(), os.getresgid(), os.getgroups()), mine)

        self.both(check)

    def test_a_program_is_looked_for_as_a_shell_does(self):
        def check():
            with tempfile.TemporaryDirectory() as directory:
                os.chmod(directory, 0o755)
                for name, mode, text in (("closed/tool", 0o644, "#!/bin/sh\necho closed"), ("open/tool", 0o755, "#!/bin/sh\necho open"), ("open/junk", 0o755, "\0\1")):
                    path = os.path.join(directory, name)
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    with open(path, "w") as file:
                        file.write(text)
                    os.chmod(path, mode)
                os.mkdir(os.path.join(directory, "closed", "folder"))
                closed, opened = (os.fsencode(os.path.join(directory, name)) for name in ("closed", "open"))
                self.assertEqual(self.started([b"tool"], {b"PATH": b"/nowhere:" + closed + b":" + opened})[1], b"open\n")
                self.assertEqual(self.started([b"tool"], {b"PATH": b":/nowhere"}, opened)[1], b"open\n")
                self.assertEqual(self.started([b"./tool"], {}, opened)[1], b"open\n")
                for argv, path, number in (([b"tool"], closed, 13), ([b"tool"], b"/nowhere", 2), ([b"folder"], closed, 13), ([b"junk"], opened, 8), ([b"x" * 300], opened, 2), ([b"true", b"x" * 200000], b"/usr/bin:/bin", 7)):
                    with self.assertRaises(starting.NotStarted) as caught:
                        self.started(argv, {b"PATH": path})
                    self.assertEqual((caught.exception.number, caught.exception.in_cwd), (number, False), argv[0][:10])
                for cwd, number in ((b"/no/such/place", 2), (opened + b"/tool", 20)):
                    with self.assertRaises(starting.NotStarted) as caught:
                        self.started([b"true"], cwd=cwd)
                    self.assertEqual((caught.exception.number, caught.exception.in_cwd), (number, True))

        self.both(check)

    def test_no_room_for_a_process_says_nothing_of_the_program(self):
        full = OSError(11, "no room")

        def check():
            before = len(os.listdir("/proc/self/fd"))
            with tempfile.TemporaryDirectory() as directory:
                for name in ("first", "second"):
                    os.mkdir(os.path.join(directory, name))
                    os.symlink("/bin/true", os.path.join(directory, name, "tool"))
                path = b":".join(os.fsencode(os.path.join(directory, name)) for name in ("first", "second"))
                with mock.patch("os.fork", side_effect=full) as fork, mock.patch("os.posix_spawn", side_effect=full) as spawn:
                    with self.assertRaises(starting.NotStarted) as caught:
                        self.started([b"tool"], {b"PATH": path})
                self.assertEqual((caught.exception.number, fork.call_count + spawn.call_count), (11, 1))
            self.assertLessEqual(len(os.listdir("/proc/self/fd")), before + 1, "the reading end of the test's own pipe")

        self.both(check)

    def test_a_command_ignores_no_signal_because_whoever_started_us_does(self):
        script = """import os, signal, sys
for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(each, signal.SIG_IGN)
sys.path.insert(0, sys.argv[1])
import starting
for way in (True, False):
    starting.SPAWN_SETS_SESSIONS = way
    pid = starting.start([b"grep", b"SigIgn", b"/proc/self/status"], dict(os.environb), b"/", (0, 1, 2))
    assert os.waitpid(pid, 0)[1] == 0
"""
        said = subprocess.run([sys.executable, "-B", "-c", script, os.path.dirname(starting.__file__)], capture_output=True)
        words = said.stdout.split()
        self.assertEqual(words[::2], [b"SigIgn:"] * 2, said.stderr)
        of_the_c_library = 0x180000000  # its own 32 and 33, which its posix_spawn leaves ignored
        self.assertEqual([int(word, 16) & ~of_the_c_library for word in words[1::2]], [0, 0])

    def test_a_terminal_is_the_commands_own(self):
        for switch in (None, (1234, 1235, [1235])) if os.geteuid() == 0 else (None,):
            master, slave = os.openpty()
            pid = starting.start([b"sh", b"-c", b"id -u; echo here > /dev/tty"], self.ENV, b"/", (slave, slave, slave), switch, True)
            os.close(slave)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            came = b""
            while b"here" not in came:  # it comes in pieces
                came += os.read(master, 100)
            self.assertEqual(came.split(), [b"%d" % (switch[0] if switch else os.geteuid()), b"here"])
            os.close(master)


class SupervisorTest(unittest.TestCase):
    def test_setting_the_clock_moves_no_deadline(self):
        import supervisor

        for jump in (-400 * 86400, 400 * 86400):
            began = time.monotonic()
            pid = os.fork()
            if pid == 0:
                try:
                    real = time.time
                    supervisor.time.time = lambda: real() + jump
                    daemon = os.fork()
                    if daemon == 0:
                        time.sleep(20)
                        os._exit(0)
                    now = supervisor.boot_ms()
                    supervisor.supervise(now + 600, now + 5000, None, daemon, None, lambda: os.kill(daemon, 9))
                finally:
                    os._exit(99)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            self.assertGreaterEqual(time.monotonic() - began, 0.55)
            self.assertLess(time.monotonic() - began, 5)

    def test_an_end_that_was_moved_in_time_is_seen_however_slow_we_are(self):
        import supervisor

        began = supervisor.boot_ms()
        moved = iter([began + 300, began + 1200])

        def read_slowly(_fd):
            later = next(moved, began + 1200)  # the second is written before the first has come
            time.sleep(0.4)
            return later

        with mock.patch.object(supervisor, "read_expiry", read_slowly):
            pid = os.fork()
            if pid == 0:
                try:
                    daemon = os.fork()
                    if daemon == 0:
                        time.sleep(20)
                        os._exit(0)
                    supervisor.supervise(began + 100, began + 60_000, 0, daemon, None, lambda: os.kill(daemon, 9))
                finally:
                    os._exit(99)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertGreaterEqual(supervisor.boot_ms(), began + 1200)


class StatsTest(unittest.TestCase):
    def reported(self, charged):
        with tempfile.TemporaryDirectory() as directory:
            for name, text in (("memory.current", charged), ("memory.max", "max"), ("memory.stat", "inactive_file 1000")):
                with open(os.path.join(directory, name), "w") as file:
                    file.write("%s\n" % text)
            result = {"memoryBytes": 3_000_000, "daemonMemoryBytes": 5_000_000, "cpuSeconds": 1.5}
            with mock.patch.object(stats, "ROOT", directory):
                stats.from_cgroup(result)
            return result["memoryBytes"]

    def test_a_cgroup_that_was_charged_for_less_than_the_daemon_holds(self):
        self.assertEqual(self.reported(20_001_000), 15_000_000)
        self.assertEqual(self.reported(4_000_000), 3_000_000)


class UsersTest(unittest.TestCase):
    def test_forms(self):
        if os.geteuid() != 0:
            with self.assertRaises(wire.Refused) as caught:
                users.resolve("0")
            self.assertEqual(caught.exception.error["code"], "unsupported")
            return
        self.assertEqual(users.resolve("123:456").uid, 123)
        self.assertEqual(users.resolve("123:456").gid, 456)
        self.assertEqual(users.resolve("nobody").uid, 65534)
        for bad in ("no-such-user", "0:no-such-group", "99999999999"):
            with self.assertRaises(wire.Refused):
                users.resolve(bad)


if __name__ == "__main__":
    unittest.main()
