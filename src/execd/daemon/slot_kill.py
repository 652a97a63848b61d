"""Ends everything of one slot's user: its processes, and what the kernel keeps for it beyond them."""
import os
import time

from supervisor import libc

def uids_of_processes():
    used = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            used.update(ids_of(int(name), True) or ())
    return used


def ids_of(pid, only_living=False):
    """Real, effective, saved and file system uid; None when it is gone."""
    try:
        fd = os.open("/proc/%d/status" % pid, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    if only_living and b"\nState:\tZ" in data:
        return None
    at = data.find(b"\nUid:")
    return tuple(int(word) for word in data[at + 5 : data.find(b"\n", at + 5)].split())


# -- killing --------------------------------------------------------------------------------------------------------------


def processes_of(uid):
    """[(pid, name)] that live under a uid. What hides its /proc entry by being untraceable shows as root's there."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            owner = os.stat("/proc/" + name).st_uid
        except OSError:
            continue
        if owner != uid and owner not in (0, 65534):
            continue
        pid = int(name)
        ids = ids_of(pid)
        if ids is None or uid not in ids:
            continue
        try:
            with open("/proc/%d/stat" % pid, "rb") as file:
                data = file.read()
        except OSError:
            continue
        end = data.rfind(b")")
        if data[end + 2 : end + 3] not in (b"Z", b"X"):
            found.append((pid, data[data.find(b"(") + 1 : end]))
    return found


def as_slot(job, call):
    """Runs call() in a process that may signal the slot's processes and owns its IPC objects, and that they cannot signal.

    One at a time in the sandbox: the wardens of two slots could signal each other."""
    import fcntl

    uid, warden = job["uid"], job["warden"]
    lock = os.open(job["lock"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setresgid(warden, uid, warden)
                os.setresuid(warden, uid, warden)
                call()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    finally:
        os.close(lock)


def kill_all(job):
    """(how many were killed, [(pid, name)] that are left). One signal to all at once: no fork can get ahead of it."""

    def shoot():
        os.kill(-1, 9)

    uid = job["uid"]
    alive = processes_of(uid)
    if job["holder"]:
        # Process 1 of the slot's own view: the kernel ends everything in there with it.
        try:
            os.kill(job["holder"], 9)
        except OSError:
            pass
    count = sum(1 for pid, _ in alive if pid not in job["keepers"])
    give_up = time.monotonic() + 10
    pause = 0.0005
    while alive and time.monotonic() < give_up:
        as_slot(job, shoot)
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
        alive = processes_of(uid)
    return count, alive


# -- what a kernel keeps --------------------------------------------------------------------------------------------------


def ipc_objects(uid):
    """[(kind, id)] of the uid's System V objects."""
    found = []
    for kind, column in (("shm", 1), ("msg", 1), ("sem", 1)):
        try:
            with open("/proc/sysvipc/" + kind) as file:
                header = file.readline().split()
                owners = [header.index(name) for name in ("uid", "cuid") if name in header]
                for line in file:
                    fields = line.split()
                    if str(uid) in [fields[index] for index in owners]:
                        found.append((kind, int(fields[column])))
        except (OSError, ValueError):
            pass
    return found


def remove_ipc(job):
    uid = job["uid"]
    objects = ipc_objects(uid)

    def remove():
        for kind, ident in objects:
            if kind == "sem":
                libc("semctl", ident, 0, 0)
            else:
                libc(kind + "ctl", ident, 0, 0)

    if objects:
        as_slot(job, remove)
    return ipc_objects(uid)


KEYCTL = {"x86_64": 250, "i686": 288, "armv7l": 311, "ppc64le": 271, "s390x": 280}


def clear_keys(uid):
    """A key would otherwise wait for the next one with this uid. The uid itself must ask; nothing of the slot lives by then."""
    try:
        with open("/proc/key-users") as file:
            if not any(line.split(":")[0].strip() == str(uid) for line in file):
                return  # it has none
    except OSError:
        pass
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            number = KEYCTL.get(os.uname().machine, 219)
            for ring in (-4, -5):
                libc("syscall", number, 7, ring)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
