"""File work, each job in a child process that has become the sandbox's user. Blocking is fine here."""
import errno
import marshal
import os
import stat as modes

import _signal
import keepers
import tar
import wire
from wire import Refused

CHUNK = 1 << 20


def helper(sock):
    """Never returns. A job and its descriptors per message; one child per job, forked before the job is there."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # they are put away at once: they count for their user's limit
    sock.sendall(os.getpid().to_bytes(4, "big"))
    while True:
        told, tell = os.pipe()
        if os.fork() == 0:
            os.close(told)
            # a cancel must not leave half a file behind: the exception unwinds through whatever removes it
            _signal.signal(_signal.SIGTERM, interrupted)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            keepers.raise_oom_score()
            os.umask(0o022)
            fds, data = receive_job(sock)
            sock.close()
            try:
                os.write(tell, b"s" if b"slots" in data else b"j")
            except OSError:
                pass  # the helper was killed: this job is still ours
            os.close(tell)
            child(fds, marshal.loads(data))
        os.close(tell)
        taken = os.read(told, 1)
        os.close(told)
        if taken == b"s":
            import slot_jobs  # noqa: F401 - once, here: compiling it takes longer than most of its jobs
        elif not taken:  # the daemon has ended, or somebody killed the one that waited: then it makes a new helper
            os._exit(0)


def receive_job(sock):
    head, fds = keepers.receive_fds(sock, 4, 3)
    while 0 < len(head) < 4:
        head += sock.recv(4 - len(head))
    size = int.from_bytes(head, "big")
    data = b""
    while head and len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            break
        data += part
    if not head or len(data) < size:
        os._exit(0)
    return fds, data


class Interrupted(BaseException):
    pass


def interrupted(_number, _frame):
    raise Interrupted


def child(fds, message):
    result_fd = fds.pop(0)
    try:
        os.write(result_fd, os.getpid().to_bytes(4, "big"))
        switch, workdir, has_input, has_output, job = message
        source = fds.pop(0) if has_input else -1
        target = fds.pop(0) if has_output else -1
        if switch is not None:
            os.setgroups(switch[2])
            os.setgid(switch[1])
            os.setuid(switch[0])
        ok, error = None, None
        try:
            ok = ACTIONS[job["action"]](job, source, target)
        except Refused as refused:
            error = refused.error
        except BrokenPipeError:
            error = {"code": "cancelled", "message": "the client no longer reads"}
        except OSError as problem:
            refused = wire.from_os_error(problem, None)
            shown = wire.quoted(job["shown"])
            error = {"code": refused.error["code"], "message": "cannot %s %s: %s" % (VERBS[job["action"]], shown, problem.strerror or problem)}
            inner = problem.filename
            if inner is not None and isinstance(inner, (bytes, str)):
                inner = os.fsdecode(inner)
                if inner != os.fsdecode(job["path"]):
                    error["message"] += " (%s)" % wire.quoted(inner)
        if target >= 0:
            os.close(target)
        if source >= 0 and error is None:
            while os.read(source, CHUNK):  # the client's end of file, so that it is not told that nobody reads
                pass
        answer = (ok, None if error is None else (error["code"], error["message"], error.get("data")))
        view = memoryview(marshal.dumps(answer))
        while view:
            view = view[os.write(result_fd, view) :]
        os.close(result_fd)  # at the end of a process the kernel gives back its memory first
    except Interrupted:
        os._exit(1)
    except BaseException as error:
        os.write(2, ("files: %r\n" % (error,)).encode("utf-8", "replace"))
        os._exit(1)
    os._exit(0)


def info(path, stat, target=None):
    kind = modes.S_IFMT(stat.st_mode)
    result = {
        "path": wire.to_text(path),
        "type": {modes.S_IFREG: "file", modes.S_IFDIR: "directory", modes.S_IFLNK: "symlink"}.get(kind, "other"),
        "size": stat.st_size,
        "mode": stat.st_mode & 0o7777,
        "mtimeMs": stat.st_mtime_ns / 1e6,
        "uid": stat.st_uid,
        "gid": stat.st_gid,
    }
    if target is not None:
        result["target"] = wire.to_text(target)
    return result


def do_stat(job, _source, _target):
    path = job["path"]
    stat = os.lstat(path)
    target = os.readlink(path) if modes.S_ISLNK(stat.st_mode) else None
    return info(wire.to_bytes(job["shown"], "path"), stat, target)


KINDS = {modes.S_IFREG: "f", modes.S_IFDIR: "d", modes.S_IFLNK: "l"}


def do_list(job, _source, target):
    """One JSON array a line: path, type, size, mode, milliseconds, uid, gid and a link's target. Sorted, and sent as it is found."""
    most, total = job["maxEntries"], 0
    unreadable, lines = [], []
    for name, more in walk(job["path"], job["recursive"], unreadable):
        total += 1
        if total > most:
            continue
        lines.append(b"[" + wire.dumps(wire.to_text(name)) + more + b"]\n")
        if len(lines) == 500:
            tar.write_all(target, b"".join(lines))
            lines = []
    tar.write_all(target, b"".join(lines))
    return {"total": total, "unreadable": unreadable}


def walk(root, recursive, unreadable):
    """Every name below the root, in the order of the whole paths' bytes, and what is to be told of it."""
    todo = [iter(listed(root, b"", recursive, unreadable))]
    while todo:
        for key, path, more in todo[-1]:
            if path is None:
                yield key, more
            else:
                todo.append(iter(listed(path, key, recursive, unreadable)))
                break
        else:
            todo.pop()


def listed(directory, prefix, recursive, unreadable):
    """What is in one directory, as (name, None, text), and each directory there a second time, as (name/, path, b"")."""
    found = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = prefix + entry.name
                try:
                    stat = entry.stat(follow_symlinks=False)
                    mode = stat.st_mode
                    kind = KINDS.get(modes.S_IFMT(mode), "o")
                    more = b',"%s",%d,%d,%r,%d,%d' % (kind.encode(), stat.st_size, mode & 0o7777, stat.st_mtime_ns / 1e6, stat.st_uid, stat.st_gid)
                    if kind == "l":
                        more += b"," + wire.dumps(wire.to_text(os.readlink(entry.path)))
                except FileNotFoundError:
                    continue
                found.append((name, None, more))
                if recursive and kind == "d":
                    found.append((name + b"/", entry.path, b""))
    except PermissionError:
        if not prefix:
            raise
        if len(unreadable) < 100:
            unreadable.append(wire.to_text(prefix[:-1]))
    except FileNotFoundError:  # removed meanwhile
        if not prefix:
            raise
    found.sort()
    return found


def do_read(job, _source, target):
    fd = os.open(job["path"], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo without a writer shall not hang us
    stat = os.fstat(fd)
    if modes.S_ISDIR(stat.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", job["path"])
    if modes.S_ISFIFO(stat.st_mode) or modes.S_ISSOCK(stat.st_mode):
        raise Refused("invalid-argument", "cannot read %s: it is not a file" % wire.quoted(job["shown"]))
    if job["offset"]:
        os.lseek(fd, job["offset"], os.SEEK_SET)
    left = job["length"]
    size = 0
    while left is None or left > 0:
        data = os.read(fd, CHUNK if left is None else min(CHUNK, left))
        if not data:
            break
        size += len(data)
        if left is not None:
            left -= len(data)
        tar.write_all(target, data)
    return {"size": size}


def do_write(job, source, _target):
    path = job["path"]
    if path.endswith(b"/") or os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", path)
    if os.path.islink(path):
        path = os.path.realpath(path)
    parent = os.path.dirname(path) or b"/"
    os.makedirs(parent, 0o755, exist_ok=True)
    mode = job["mode"]
    if mode is None:
        try:
            mode = os.stat(path).st_mode & 0o7777
        except OSError:
            mode = 0o644
    temporary = os.path.join(parent, b".anyplace-" + os.urandom(8).hex().encode())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    size = 0
    try:
        while True:
            data = os.read(source, CHUNK)
            if not data:
                break
            size += len(data)
            tar.write_all(fd, data)
        os.fchmod(fd, mode)
        os.fsync(fd)
        os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    return {"size": size}


def do_remove(job, _source, _target):
    path = job["path"]
    try:
        stat = os.lstat(path)
    except FileNotFoundError:
        if job["force"]:
            return {}
        raise
    if modes.S_ISDIR(stat.st_mode):
        if job["recursive"]:
            import shutil

            shutil.rmtree(path)  # does not follow links where the system has openat
        else:
            try:
                os.rmdir(path)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    raise Refused("is-a-directory", "cannot remove %s: the directory is not empty; ask for recursive" % wire.quoted(job["shown"]))
                raise
    else:
        os.unlink(path)
    return {}


def do_mkdir(job, _source, _target):
    path = job["path"]
    existed = os.path.isdir(path)
    os.makedirs(path, 0o755, exist_ok=True)
    if job["mode"] is not None and not existed:
        os.chmod(path, job["mode"])
    return {}


def do_pack(job, _source, target):
    if job.get("only") is not None:
        return tar.pack_only(job["path"], target, [wire.to_bytes(name, "only") for name in job["only"]])
    return tar.pack(job["path"], target, job["exclude"])


def do_unpack(job, source, _target):
    return tar.unpack(job["path"], source, job["asFile"], job["sync"])


def do_slots(job, _source, _target):
    """Asked for by the daemon only, never by a client."""
    import slot_jobs

    return slot_jobs.run(job)


def do_archive(job, _source, target):
    import archive

    return archive.build(job, target)


VERBS = {
    "stat": "find",
    "list": "list",
    "read": "read",
    "write": "write",
    "remove": "remove",
    "mkdir": "make the directory",
    "pack": "download",
    "unpack": "upload to",
    "archive": "archive",
    "slots": "work on slots at",
}
ACTIONS = {
    "stat": do_stat,
    "list": do_list,
    "read": do_read,
    "write": do_write,
    "remove": do_remove,
    "mkdir": do_mkdir,
    "pack": do_pack,
    "unpack": do_unpack,
    "archive": do_archive,
    "slots": do_slots,
}
