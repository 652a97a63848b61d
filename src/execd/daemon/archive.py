"""A tree as one tar, tar.gz or zip, with caps."""
import hashlib
import os
import stat as modes

import tar
import wire
from wire import Refused


class Counted:
    """The archive's bytes on their way out: counted, hashed, capped."""

    def __init__(self, fd, limit):
        self.fd, self.limit, self.count = fd, limit, 0
        self.hash = hashlib.sha256()

    def write(self, data):
        self.count += len(data)
        if self.count > self.limit:
            raise Refused("resource-exhausted", "the archive is larger than %d bytes" % self.limit, "raise maxBytes, or archive less")
        self.hash.update(data)
        tar.write_all(self.fd, bytes(data))
        return len(data)

    def tell(self):
        return self.count

    def flush(self):
        pass


def entries_of(job):
    root = job["path"]
    stat = os.lstat(root)
    if not modes.S_ISDIR(stat.st_mode):
        return [(os.path.basename(root), root, stat)]
    found = []
    todo = [(root, b"")]
    while todo:
        directory, prefix = todo.pop()
        for entry in sorted(os.scandir(directory), key=lambda one: one.name):
            stat = entry.stat(follow_symlinks=False)
            kind = modes.S_IFMT(stat.st_mode)
            if kind not in (modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK):
                continue
            found.append((prefix + entry.name, entry.path, stat))
            if len(found) > job["maxEntries"]:
                raise Refused("resource-exhausted", "there are more than %d entries below %s" % (job["maxEntries"], wire.quoted(job["shown"])), "raise maxEntries, or archive less")
            if kind == modes.S_IFDIR:
                todo.append((entry.path, prefix + entry.name + b"/"))
    found.sort(key=lambda one: one[0])
    return found


def build(job, target):
    found = entries_of(job)
    out = Counted(target, job["maxBytes"])
    if job["format"] == "zip":
        build_zip(found, out)
    else:
        build_tar(found, out, job["format"] == "tar.gz")
    return {"entries": len(found), "bytes": out.count, "sha256": out.hash.hexdigest()}


def build_tar(found, out, compressed):
    import tarfile

    with tarfile.open(mode="w|gz" if compressed else "w|", fileobj=out, format=tarfile.PAX_FORMAT) as archive:
        for name, path, stat in found:
            member = archive.gettarinfo(os.fsdecode(path), os.fsdecode(name))
            if member is None:
                continue
            member.uname = member.gname = ""
            if member.islnk():
                member.type, member.linkname, member.size = tarfile.REGTYPE, "", stat.st_size
            if member.isreg():
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with os.fdopen(fd, "rb") as file:
                    archive.addfile(member, file)
            else:
                archive.addfile(member)


def build_zip(found, out):
    import time
    import zipfile

    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path, stat in found:
            moment = max(time.localtime(stat.st_mtime)[:6], (1980, 1, 1, 0, 0, 0))
            text = name.decode("utf-8", "replace")
            directory = modes.S_ISDIR(stat.st_mode)
            member = zipfile.ZipInfo(text + "/" if directory else text, moment)
            member.external_attr = (stat.st_mode & 0xFFFF) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            if directory:
                archive.writestr(member, b"")
            elif modes.S_ISLNK(stat.st_mode):
                archive.writestr(member, os.readlink(path))
            else:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with os.fdopen(fd, "rb") as file, archive.open(member, "w", force_zip64=stat.st_size > 1 << 31) as into:
                    while True:
                        data = file.read(1 << 20)
                        if not data:
                            break
                        into.write(data)
