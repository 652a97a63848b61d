"""What is done to slots as root, each job in a process of its own: making and renewing homes, killing, closing places, looking."""
import errno
import os
import stat as modes
import time

import keepers
import wire
from wire import Refused

# Kernel views: nothing is kept there.
VIEWS = {
    "proc", "sysfs", "cgroup", "cgroup2", "devpts", "securityfs", "debugfs", "tracefs", "bpf", "pstore", "configfs",
    "binfmt_misc", "fusectl", "selinuxfs", "efivarfs", "hugetlbfs", "nsfs",
}  # fmt: skip
MOST_LEFT = 100
INSIDE = ".anyplace"  # in the workspace base: temporary directories, what is being deleted, prepared templates


def run(job, _source=None, _target=None):
    return JOBS[job["work"]](job)


# -- where things are -----------------------------------------------------------------------------------------------------


def unescaped(text):
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1") if b"\\" in text.encode("latin-1") else text.encode("latin-1")


def mounts():
    """{point: (type, read-only, whether it is a part of another file system)}"""
    found = {}
    with open("/proc/self/mountinfo", encoding="latin-1") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            fields, rest = fields.split(" "), rest.split(" ")
            options = fields[5].split(",") + rest[2].strip().split(",")
            found[unescaped(fields[4])] = (rest[0], "ro" in options, unescaped(fields[3]))
    return found


def walk(skip, visit):
    """visit(path, lstat, mount point) of everything in the sandbox that could be written; links are not followed.

    Each mount on its own: below a read-only one, and below a view of the kernel's, there may be one that can be written."""
    points = mounts()
    for point, (kind, read_only, _) in points.items():
        if kind in VIEWS or read_only or point in skip:
            continue
        try:
            visit(point, os.lstat(point), point)
        except OSError:
            continue
        todo = [point]
        while todo:
            directory = todo.pop()
            try:
                entries = list(os.scandir(directory))
            except OSError:
                continue
            for entry in entries:
                path = entry.path
                if path in skip or path in points:
                    continue
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                visit(path, found, point)
                if modes.S_ISDIR(found.st_mode):
                    todo.append(path)


# -- closing places -------------------------------------------------------------------------------------------------------


def close_places(job):
    """Shuts every place that anybody may write to the slots' common group, and to nobody else.

    A file's group class counts before the class of all others, also when it allows less: a place that belongs to a group which
    every slot is in, and which may not write, is closed to slots and stays open to everybody else.
    """
    gid = job["gid"]
    mine = b"/sandboxes/%s/" % job["sandbox"].encode()
    closed, refused = [], []
    points = mounts()
    used = set()

    def visit(path, found, point):
        used.add(found.st_uid)
        mode = found.st_mode
        if not mode & 0o002 or modes.S_ISLNK(mode) or modes.S_ISCHR(mode) or modes.S_ISBLK(mode) or modes.S_ISSOCK(mode):
            return
        if found.st_gid == gid:
            if not mode & 0o020:
                closed.append(path)
                return
        elif point != b"/":
            kind, _, root = points[point]
            # A directory of the machine's: its modes are not ours to change. A volume, or one made for this sandbox, is.
            if kind not in ("tmpfs", "mqueue") and root != b"/" and not root.endswith(b"/_data") and mine not in root:
                refused.append(path)
                return
        others = mode & 0o007
        try:
            os.chown(path, -1, gid, follow_symlinks=False)
            os.chmod(path, (mode & 0o7707 & ~0o2000) | ((others & 0o5) << 3))
            after = os.lstat(path)
            if after.st_gid != gid or after.st_mode & 0o020:
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
            closed.append(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.EROFS:
                refused.append(path)

    walk(set(job["skip"]), visit)
    if refused:
        raise Refused(
            "unsupported",
            "slots cannot be kept apart: everybody may write %s, and it cannot be closed to them" % wire.quoted(wire.to_text(refused[0])),
            "mount it read-only, or take the write right for others away from it",
        )
    return closed, used


# -- making ---------------------------------------------------------------------------------------------------------------


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


def known_ids():
    """What passwd and group name: those are somebody's."""
    used = set()
    for path in ("/etc/passwd", "/etc/group"):
        try:
            with open(path, "rb") as file:
                for line in file:
                    fields = line.split(b":")
                    if len(fields) > 2 and fields[2].isdigit():
                        used.add(int(fields[2]))
        except OSError:
            pass
    return used


def make_root_directory(path, mode):
    try:
        os.mkdir(path, mode)
        os.chmod(path, mode)
    except FileExistsError:
        found = os.lstat(path)
        if not modes.S_ISDIR(found.st_mode):
            raise Refused("conflict", "%s is no directory" % wire.quoted(path))


def prepare_base(base):
    missing = []
    path = base
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    for path in reversed(missing):
        make_root_directory(path, 0o755)
    mode = os.lstat(base).st_mode
    if modes.S_ISDIR(mode) and mode & 0o011 != 0o011:
        os.chmod(base, mode & 0o7777 | 0o011)  # the sandbox's own workdir, perhaps: slots must get through
    if os.path.realpath(base) != base:
        raise Refused("invalid-argument", "workspaceBase %s is or holds a link" % wire.quoted(base))
    inner = base + "/" + INSIDE
    existed = os.path.lexists(inner)
    make_root_directory(inner, 0o711)
    found = os.lstat(inner)
    if existed and (found.st_uid != os.geteuid() or found.st_mode & 0o022):
        raise Refused("conflict", "%s is somebody else's" % wire.quoted(inner))
    for name, mode in (("tmp", 0o711), ("trash", 0o700), ("spare", 0o700)):
        make_root_directory(inner + "/" + name, mode)


def own_directory(path, uid):
    os.mkdir(path, 0o700)
    os.chown(path, uid, uid)
    os.chmod(path, 0o700)


def make(job):
    """Several slots with one look through the sandbox. One refusal does not hinder the others."""
    for base in {entry["base"] for entry in job["slots"]}:
        prepare_base(base)
    closed, in_files = close_places(job)
    taken = uids_of_processes() | known_ids() | in_files | set(job["taken"])
    answers = []
    for entry in job["slots"]:
        try:
            answers.append(("ok", make_one(entry, taken)))
        except Refused as refused:
            answers.append(("refused", refused.error))
        except OSError as error:
            answers.append(("refused", wire.from_os_error(error).error))
    return {"slots": answers, "closed": closed}


def make_one(entry, taken):
    uid = next((uid for uid in range(entry["first"], entry["first"] + entry["count"]) if uid not in taken), None)
    if uid is None:
        what = "uid %d is" % entry["first"] if entry["count"] == 1 else "all %d uids from %d on are" % (entry["count"], entry["first"])
        raise Refused("conflict", "%s in use in the sandbox: by a slot, a process, a file or a passwd entry" % what, "choose another uid")
    taken.add(uid)
    home, temporary = places(entry)
    if os.path.lexists(home):
        raise Refused("already-exists", "%s is there already" % wire.quoted(home))
    put_aside(entry, temporary)
    if entry.get("template"):
        check_template(entry["template"])
    own_directory(temporary, uid)
    fill_home(dict(entry, uid=uid))
    return uid


def places(entry):
    return entry["base"] + "/" + entry["name"], "%s/%s/tmp/%s" % (entry["base"], INSIDE, entry["name"])


def check_template(path):
    found = os.lstat(path)
    if not modes.S_ISDIR(found.st_mode):
        raise Refused("not-a-directory", "the template %s is no directory" % wire.quoted(path))


def fill_home(entry):
    home, _ = places(entry)
    if not entry.get("template"):
        return own_directory(home, entry["uid"])
    spare = spare_of(entry)
    try:
        os.rename(spare, home)
        return
    except FileNotFoundError:
        pass
    copy = "%s/%s/spare/.now-%s" % (entry["base"], INSIDE, os.urandom(6).hex())
    copy_tree(entry["template"], copy, entry["uid"])
    os.rename(copy, home)


def spare_of(entry):
    return "%s/%s/spare/%s" % (entry["base"], INSIDE, entry["name"])


def make_spare(job):
    """The next home, before it is needed."""
    if os.path.lexists(spare_of(job)):
        return {}
    copy = "%s/%s/spare/.next-%s" % (job["base"], INSIDE, os.urandom(6).hex())
    copy_tree(job["template"], copy, job["uid"])
    os.rename(copy, spare_of(job))
    return {}


def copy_tree(source, target, uid):
    """A copy that shares nothing that can be written with its original: extents where the file system can, never links."""
    own_directory(target, uid)
    todo = [(os.fsencode(source), os.fsencode(target))]
    later = []
    while todo:
        one, other = todo.pop()
        for entry in os.scandir(one):
            found = entry.stat(follow_symlinks=False)
            path = os.path.join(other, entry.name)
            if modes.S_ISDIR(found.st_mode):
                os.mkdir(path, 0o700)
                todo.append((entry.path, path))
                later.append((path, found))
            elif modes.S_ISREG(found.st_mode):
                copy_file(entry.path, path)
                os.chown(path, uid, uid)
                os.chmod(path, found.st_mode & 0o777)
                os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
            elif modes.S_ISLNK(found.st_mode):
                os.symlink(os.readlink(entry.path), path)
                os.chown(path, uid, uid, follow_symlinks=False)
    for path, found in reversed(later):
        os.chown(path, uid, uid)
        os.chmod(path, found.st_mode & 0o777)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def copy_file(source, target):
    import fcntl

    one = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        other = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.ioctl(other, 0x40049409, one)  # FICLONE
                return
            except OSError:
                pass
            while os.sendfile(other, one, None, 1 << 24):
                pass
        finally:
            os.close(other)
    finally:
        os.close(one)


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
        keepers.prctl(3, 0)  # loads the C library
        libc = keepers._libc
        if libc is None:
            return
        for kind, ident in objects:
            if kind == "shm":
                libc.shmctl(ident, 0, None)
            elif kind == "msg":
                libc.msgctl(ident, 0, None)
            else:
                libc.semctl(ident, 0, 0)

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
            keepers.prctl(3, 0)
            if keepers._libc is not None:
                number = KEYCTL.get(os.uname().machine, 219)
                for ring in (-4, -5):
                    keepers._libc.syscall(number, 7, ring)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


# -- renewing -------------------------------------------------------------------------------------------------------------


def put_aside(entry, path):
    """Out of reach at once, however much it is; deleted later."""
    try:
        os.rename(path, "%s/%s/trash/%s" % (entry["base"], INSIDE, os.urandom(8).hex()))
        return True
    except FileNotFoundError:
        return False


def left_in(places_closed, uid):
    """Files of the uid right in the places that others may write to: a look of microseconds, the long one comes later."""
    found = []
    for place in places_closed:
        try:
            if not modes.S_ISDIR(os.lstat(place).st_mode):
                continue
            for entry in os.scandir(place):
                try:
                    if entry.stat(follow_symlinks=False).st_uid == uid:
                        found.append(entry.path)
                except OSError:
                    continue
        except OSError:
            continue
    return found


def reset(job):
    uid = job["uid"]
    home, temporary = places(job)
    killed, alive = kill_all(job)
    left = [("process", "pid %d (%s)" % (pid, name.decode("utf-8", "replace"))) for pid, name in alive]
    if not alive:
        renew = job["strategy"] != "none"
        if renew:
            put_aside(job, home)
            put_aside(job, temporary)
        if not job["ends"] and renew:
            own_directory(temporary, uid)
            if job["strategy"] == "template":
                fill_home(job)
            else:
                own_directory(home, uid)
        if job["ends"]:
            put_aside(job, spare_of(job))
        left += [("ipc", "%s %d" % found) for found in remove_ipc(job)]
        clear_keys(uid)
        for path in left_in(job["closed"], uid):
            remove_any(path)
        left += [("file", wire.to_text(path)) for path in left_in(job["closed"], uid)]
        # Nobody could start one since, or so it should be: what is looked at below shall hold for whoever comes next.
        _, again = kill_all(job)
        if renew and not job["ends"]:
            left += faults_of(home, uid, job["strategy"] == "clean") + faults_of(temporary, uid, True)
        left += [("process", "pid %d (%s)" % (pid, name.decode("utf-8", "replace"))) for pid, name in again]
    return {"killed": killed, "left": left[:MOST_LEFT]}


def faults_of(path, uid, must_be_empty):
    found = os.lstat(path)
    fine = modes.S_ISDIR(found.st_mode) and found.st_uid == uid and found.st_gid == uid and found.st_mode & 0o7777 == 0o700
    if fine and must_be_empty:
        fine = not os.listdir(path)
    return [] if fine else [("file", path)]


def remove_any(path):
    try:
        found = os.lstat(path)
        if modes.S_ISDIR(found.st_mode):
            delete_tree(path)
        else:
            os.unlink(path)
    except OSError:
        pass


def delete_tree(root):
    """However deep it is: every directory is moved up to the top before it is emptied, so no path grows long."""
    os.chmod(root, 0o700)
    number = 0
    todo = [root]
    while todo:
        directory = todo.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    number += 1
                    above = os.path.join(os.path.dirname(root), b".%d-%s" % (number, os.path.basename(root)))
                    os.rename(entry.path, above)
                    todo.append(above)
                else:
                    os.unlink(entry.path)
        os.rmdir(directory)


def empty_trash(job):
    """Returns when nothing is left there that was there at the beginning."""
    os.nice(10)
    directory = os.fsencode("%s/%s/trash" % (job["base"], INSIDE))
    names = os.listdir(directory)
    for name in names:
        path = os.path.join(directory, name)
        try:
            if modes.S_ISDIR(os.lstat(path).st_mode):
                delete_tree(path)
            else:
                os.unlink(path)
        except OSError:
            pass  # the next time
    return {"left": len(set(os.listdir(directory)) & set(names))}


# -- looking --------------------------------------------------------------------------------------------------------------


def scan(job):
    """Everything of the uid anywhere but in its own two directories."""
    os.nice(10)
    uid = job["uid"]
    home, temporary = places(job)
    skip = {os.fsencode(path) for path in (home, temporary, job["base"] + "/" + INSIDE + "/trash", job["base"] + "/" + INSIDE + "/spare")}
    left = []
    total = 0

    def visit(path, found, _point):
        nonlocal total
        if found.st_uid == uid or found.st_gid == uid:
            total += 1
            if len(left) < MOST_LEFT:
                left.append(("file", wire.to_text(path)))

    walk(skip, visit)
    return {"left": left, "total": total}


JOBS = {"make": make, "reset": reset, "spare": make_spare, "trash": empty_trash, "scan": scan}
