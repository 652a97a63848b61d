"""What is done to slots as root, each job in a process of its own: making and renewing them."""
import os
import stat as modes

import wire
from slot_kill import clear_keys, kill_all, remove_ipc, uids_of_processes
from slot_scan import INSIDE, MOST_LEFT, close_places, places, scan
from wire import Refused

def run(job, _source=None, _target=None):
    return JOBS[job["work"]](job)


# -- making ---------------------------------------------------------------------------------------------------------------


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


JOBS = {"make": make, "reset": reset, "spare": make_spare, "trash": empty_trash, "scan": scan}
