"""Slots: isolated workspaces in the sandbox, each with a user of its own. The work that needs root is in slot_jobs.py."""
import marshal
import os
import time

import file_jobs
import slot_powers
import users
import wire
from slot_pool import Holder, SlotKeepers
from wire import Refused

NAME = set("abcdefghijklmnopqrstuvwxyz0123456789-")


class Slot:
    __slots__ = ("name", "uid", "isolation", "pids", "base", "home", "temporary", "env", "template", "state", "keepers", "user", "batch", "queue", "sandbox_env")

    def path(self, path):
        """Where file work finds what the slot's commands call so."""
        joined = os.path.normpath(os.path.join(os.fsencode(self.home), path)) if self.isolation == "namespace" else b""
        for private in (b"/tmp", b"/var/tmp"):
            if joined == private or joined.startswith(private + b"/"):
                return os.fsencode(self.temporary) + joined[len(private) :]
        return os.path.join(os.fsencode(self.home), path)

    def record(self):
        record = {
            "name": self.name,
            "uid": self.uid,
            "gid": self.uid,
            "home": self.home,
            "isolation": self.isolation,
            "pidsLimit": self.pids,
            "state": self.state,
        }
        if self.template:
            record["template"] = self.template
        return record


    def base_env(self):
        env = dict(self.sandbox_env)
        env[b"HOME"] = os.fsencode(self.home)
        env[b"TMPDIR"] = os.fsencode(self.temporary) if self.isolation == "user" else b"/tmp"
        env[b"USER"] = env[b"LOGNAME"] = self.name.encode()
        for name, value in self.env.items():
            env[wire.to_bytes(name, "env")] = wire.to_bytes(value, "env." + name)
        return env


class RootJob:
    """A job of slot_jobs.py in a child of the files helper. `done(result, error)` once."""

    def __init__(self, daemon, job, done):
        self.daemon, self.done = daemon, done
        self.result = b""
        job = dict(job, action="slots", path=b"/", shown=job["work"])
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                helper(daemon).start((None, "/", False, False, job), [write_end])
            except OSError:  # it was killed: one more try with a new one
                daemon.slots.helper = None
                helper(daemon).start((None, "/", False, False, job), [write_end])
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        self.fd = read_end
        os.set_blocking(read_end, False)
        daemon.loop.watch(read_end, self.readable, read=True)

    def readable(self, _events):
        try:
            data = os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return
        if data:
            self.result += data
            return
        self.daemon.loop.unwatch(self.fd)
        os.close(self.fd)
        if len(self.result) <= 4:
            return self.done(None, Refused("internal", "the process that worked on a slot ended early (killed, perhaps for lack of memory)"))
        ok, error = marshal.loads(self.result[4:])
        self.done(ok, None if error is None else Refused(error[0], error[1], data=error[2]))


def helper(daemon):
    """One of its own: a long scan's process is never mixed up with the files of clients."""
    if daemon.slots.helper is None:
        daemon.slots.helper = file_jobs.FilesHelper(daemon.loop, daemon.pool)
    return daemon.slots.helper


class SlotTable:
    def __init__(self, daemon):
        self.daemon = daemon
        self.slots = {}
        self.helper = None
        self.powers = daemon.slot_powers
        uids = self.powers["uids"]
        # One uid of the range is never a slot's: that of the processes which kill, and of the group that all slots are in.
        self.warden = uids["first"] + uids["count"] - 1
        self.wanted = []  # creations that wait for the one under way
        self.making = False
        self.closed = []
        self.lock = None
        self.cleaning = set()

    def get(self, name):
        slot = self.slots.get(name)
        if slot is None:
            raise Refused("not-found", "no slot %s in this sandbox" % wire.quoted(str(name)), "list them with slots.list()")
        return slot

    def ready(self, name):
        slot = self.get(name)
        if slot.state != "ready":
            what = "is being reset" if slot.state == "resetting" else "is dirty"
            raise Refused("conflict", "slot %s %s" % (wire.quoted(name), what), "reset or remove it first")
        return slot

    # -- create

    def create(self, message, answer):
        slot = self.checked(message)
        self.wanted.append((slot, message, answer))
        self.slots[slot.name] = slot
        if not self.making:
            self.make()

    def checked(self, message):
        name = message["name"]
        if not isinstance(name, str) or not 0 < len(name) <= 63 or set(name) - NAME or name[0] == "-" or name[-1] == "-":
            raise Refused("invalid-argument", "not a slot's name: %s" % wire.quoted(str(name)), "names are of a-z, 0-9 and inner hyphens, 63 at most")
        if name in self.slots:
            raise Refused("already-exists", "there is a slot %s in this sandbox already" % wire.quoted(name))
        level = message["isolation"]
        if level not in ("user", "namespace"):
            raise Refused("invalid-argument", "isolation is 'user' or 'namespace', not %s" % wire.quoted(str(level)))
        if self.powers[level] is not None:
            raise Refused("unsupported", "slots of isolation %s cannot be had in this sandbox: %s" % (level, self.powers[level]))
        slot = Slot()
        slot.name, slot.isolation = name, level
        slot.pids = int(message["pidsLimit"])
        if not 2 <= slot.pids <= 4194304:
            raise Refused("invalid-argument", "pidsLimit must be from 2 to 4194304, not %d" % slot.pids)
        slot.base = self.absolute(message.get("workspaceBase") or "/data", "workspaceBase")
        slot.template = self.absolute(message["template"], "template") if message.get("template") else None
        slot.home = slot.base + "/" + name
        slot.temporary = "%s/.anyplace/tmp/%s" % (slot.base, name)
        slot.env = message.get("env") or {}
        for key, value in slot.env.items():
            if not key or "=" in key:
                raise Refused("invalid-argument", "not a name of an environment variable: %s" % wire.quoted(key))
            wire.to_bytes(key, "env")
            wire.to_bytes(value, "env." + key)
        slot.state = "resetting"
        slot.uid = None
        slot.batch, slot.queue = None, []
        slot.sandbox_env = self.daemon.table.base_env
        return slot

    @staticmethod
    def absolute(path, field):
        wire.to_bytes(path, field)
        clean = os.path.normpath(path)
        if not path.startswith("/") or clean in ("/", "//") or clean.startswith(("/proc/", "/sys/", "/dev/")):
            raise Refused("invalid-argument", "%s must be an absolute path of a directory, not %s" % (field, wire.quoted(path)))
        return "/" + clean.lstrip("/")

    def span(self, message):
        uids = self.powers["uids"]
        if message.get("uid") is not None:
            first, count = int(message["uid"]), 1
        elif message.get("uidRange"):
            first, count = int(message["uidRange"]["first"]), int(message["uidRange"]["count"])
        elif self.powers["own"] or uids["count"] < slot_powers.SHARED_COUNT:
            first, count = uids["first"], uids["count"] - 1
        else:  # far apart from what another sandbox may take
            first, count = uids["first"] + int.from_bytes(os.urandom(8), "big") % (uids["count"] - 10001), 10000
        last = uids["first"] + uids["count"] - 2
        if count < 1 or first < uids["first"] or first + count - 1 > last:
            raise Refused(
                "invalid-argument",
                "the uids of slots here are from %d to %d, not %d to %d" % (uids["first"], last, first, first + count - 1),
            )
        return first, count

    def make(self):
        wanted, self.wanted = self.wanted, []
        entries, good = [], []
        for slot, message, answer in wanted:
            try:
                first, count = self.span(message)
            except (Refused, KeyError, TypeError, ValueError) as error:
                self.slots.pop(slot.name, None)
                answer(refused=error if isinstance(error, Refused) else Refused("invalid-argument", "not a uid range"))
                continue
            entries.append({"name": slot.name, "base": slot.base, "template": slot.template, "first": first, "count": count})
            good.append((slot, answer))
        if not entries:
            return
        taken = [slot.uid for slot in self.slots.values() if slot.uid is not None]
        skip = [os.fsencode(path) for slot in self.slots.values() for path in (slot.home, slot.temporary)]
        skip += [os.fsencode(slot.base + "/.anyplace/" + name) for slot in self.slots.values() for name in ("trash", "spare")]
        self.making = True

        def made(result, refused):
            self.making = False
            if result is not None:
                self.closed = result["closed"]
                self.lock = self.lock or good[0][0].base + "/.anyplace/trash"
            for index, (slot, answer) in enumerate(good):
                state, value = ("refused", refused.error) if result is None else result["slots"][index]
                if state == "ok":
                    self.begin(slot, value, answer)
                else:
                    self.slots.pop(slot.name, None)
                    why = Refused(value["code"], value["message"])
                    why.error = value
                    answer(refused=why)
            if self.wanted:
                self.make()

        try:
            RootJob(self.daemon, {"work": "make", "sandbox": self.daemon.config["sandboxId"], "slots": entries, "gid": self.warden, "taken": taken, "skip": skip}, made)
        except OSError as error:
            made(None, wire.from_os_error(error))

    def begin(self, slot, uid, answer):
        slot.uid = uid
        user = users.User()
        user.uid = user.gid = uid
        user.groups = [uid, self.warden]
        user.home, user.name, user.switch = slot.home, slot.name, True
        slot.user = user
        slot.keepers = None

        def begun(problem):
            if problem is None:
                self.prepare_spare(slot)
                return answer(ok=slot.record())
            refused = Refused("unsupported", "slots of isolation namespace cannot be had in this sandbox: %s" % problem)
            self.renew(slot, "clean", True, lambda _result, _refused: (self.slots.pop(slot.name, None), answer(refused=refused)))

        self.renew_keepers(slot, begun)

    def renew_keepers(self, slot, done):
        """done(problem) once its commands can be started, or not. Then it is ready, or dirty."""
        setup = (slot.uid, slot.user.groups, slot.pids)

        def held(problem):
            slot.state = "ready" if problem is None else "dirty"
            if problem is None:
                slot.keepers = SlotKeepers(self.daemon.pool, setup, holder)
                slot.keepers.give_back(slot.keepers.take())
            done(problem)

        holder = None
        if slot.isolation == "user":
            held(None)
        else:
            holder = Holder(self.daemon.pool, slot.uid, slot.temporary, held)

    def prepare_spare(self, slot):
        if slot.template:
            job = {"work": "spare", "base": slot.base, "name": slot.name, "template": slot.template, "uid": slot.uid}
            RootJob(self.daemon, job, lambda _result, _refused: None)

    # -- the rest of its life

    def renew(self, slot, strategy, ends, done, began=None):
        """Kills, cleans, looks. done(result, refused)"""
        began = began or time.monotonic()
        slot.state = "resetting"
        keepers = slot.keepers
        if keepers is not None:
            keepers.closed = True
            # One of ours that has not become the slot's user yet would be looked for in vain, and come alive after that.
            if any(not keeper.pid for keeper in keepers.all) and time.monotonic() < began + 5:
                self.daemon.loop.later(0.001, lambda: self.renew(slot, strategy, ends, done, began))
                return
        job = {
            "work": "reset",
            "base": slot.base,
            "name": slot.name,
            "template": slot.template if strategy == "template" else None,
            "strategy": strategy,
            "ends": ends,
            "uid": slot.uid,
            "warden": self.warden,
            "lock": self.lock,
            "keepers": keepers.pids() if keepers is not None else [],
            "holder": keepers.pid if keepers is not None else 0,
            "closed": self.closed,
        }

        def finished(result, refused):
            if keepers is not None:
                keepers.lose()
            if result is None:
                slot.state = "dirty"
                return done(None, refused)
            left = [{"kind": kind, "what": what} for kind, what in result["left"]]

            def renewed(problem):
                if problem is not None:
                    left.append({"kind": "process", "what": "no process could be started in it again: " + problem})
                elif strategy == "template" and not ends:
                    self.prepare_spare(slot)
                self.empty_trash(slot.base)
                milliseconds = round((time.monotonic() - began) * 1000, 3)
                done({"isClean": not left, "left": left, "killedProcesses": result["killed"], "durationMs": milliseconds}, None)

            if left or ends:
                slot.state = "dirty"
                renewed(None)
            else:
                self.renew_keepers(slot, renewed)

        try:
            RootJob(self.daemon, job, finished)
        except OSError as error:
            finished(None, wire.from_os_error(error))

    def reset(self, message, answer):
        slot = self.get(message["name"])
        strategy = message["strategy"]
        if strategy not in ("clean", "template", "none"):
            raise Refused("invalid-argument", "strategy is 'clean', 'template' or 'none', not %s" % wire.quoted(str(strategy)))
        if strategy == "template" and not slot.template:
            raise Refused("invalid-argument", "slot %s was made without a template" % wire.quoted(slot.name), "give one to create")
        if slot.state == "resetting":
            raise Refused("conflict", "slot %s is being made or reset" % wire.quoted(slot.name))
        self.renew(slot, strategy, False, lambda result, refused: answer(ok=result) if refused is None else answer(refused=refused))

    def remove(self, message, answer):
        slot = self.slots.get(message["name"])
        if slot is None:
            return answer(ok={})
        if slot.state == "resetting":
            raise Refused("conflict", "slot %s is being made or reset" % wire.quoted(slot.name))

        def done(result, refused):
            if refused is not None:
                return answer(refused=refused)
            if result["left"]:
                what = result["left"][0]["what"]
                return answer(refused=Refused("internal", "slot %s could not be removed: %s is left" % (wire.quoted(slot.name), wire.quoted(what))))
            self.slots.pop(slot.name, None)
            answer(ok={})

        self.renew(slot, "clean", True, done)

    def scan(self, message, answer):
        slot = self.get(message["name"])
        began = time.monotonic()

        def done(result, refused):
            if refused is not None:
                return answer(refused=refused)
            if result["total"] and slot.state == "ready":
                slot.state = "dirty"
            left = [{"kind": kind, "what": what} for kind, what in result["left"]]
            answer(ok={"left": left, "total": result["total"], "durationMs": round((time.monotonic() - began) * 1000, 3)})

        RootJob(self.daemon, {"work": "scan", "base": slot.base, "name": slot.name, "uid": slot.uid}, done)

    def empty_trash(self, base):
        """One at a time per base; what was put there meanwhile gets another."""
        if base in self.cleaning:
            self.daemon.loop.later(0.05, lambda: self.empty_trash(base))
            return
        self.cleaning.add(base)
        try:
            RootJob(self.daemon, {"work": "trash", "base": base}, lambda _result, _refused: self.cleaning.discard(base))
        except OSError:
            self.cleaning.discard(base)

    def list(self, answer):
        answer(ok=[slot.record() for slot in self.slots.values() if slot.uid is not None])


def handle(daemon, connection, ident, message, answer):
    if daemon.slots is None:
        daemon.slots = SlotTable(daemon)
    table = daemon.slots
    action = message.get("action")
    if action == "batch":
        import slot_batch

        slot_batch.Batch(daemon, connection, ident, message, answer)
    elif action == "create":
        table.create(message, answer)
    elif action == "list":
        table.list(answer)
    elif action == "reset":
        table.reset(message, answer)
    elif action == "remove":
        table.remove(message, answer)
    elif action == "scan":
        table.scan(message, answer)
    else:
        raise Refused("unsupported", "this exec daemon does not know the slot action %s" % wire.quoted(str(action)))
