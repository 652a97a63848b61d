"""Looking through the whole sandbox: for places that everybody may write, and for what belongs to one slot's user."""
import errno
import os
import stat as modes

import wire
from wire import Refused

# Kernel views: nothing is kept there.
VIEWS = {
    "proc", "sysfs", "cgroup", "cgroup2", "devpts", "securityfs", "debugfs", "tracefs", "bpf", "pstore", "configfs",
    "binfmt_misc", "fusectl", "selinuxfs", "efivarfs", "hugetlbfs", "nsfs",
}  # fmt: skip
MOST_LEFT = 100
INSIDE = ".anyplace"  # in the workspace base: temporary directories, what is being deleted, prepared templates


def places(entry):
    return entry["base"] + "/" + entry["name"], "%s/%s/tmp/%s" % (entry["base"], INSIDE, entry["name"])


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
