"""Trees as tar streams, both ways, fast for thousands of small files.

tarfile costs 60 to 100 microseconds of interpreter time a member, about as much as making a small file; so plain headers are
read and written here, and tarfile makes only the odd ones (long or non-ASCII names, huge sizes).
"""
import errno
import os
import stat as modes
import struct
import time

from wire import Refused, quoted, to_text

BLOCK = 512
CHUNK = 1 << 20
MODE_MASK = 0o777
splice = getattr(os, "splice", None)  # Python 3.10
HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
SUM = struct.Struct("148s8s356s")


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


# -- out --------------------------------------------------------------------------------------------------------------


def header(name, stat, kind, size, link=b""):
    mode = stat.st_mode & 0o7777
    mtime = int(stat.st_mtime)
    if len(name) <= 100 and len(link) <= 100 and size < 1 << 33 and 0 <= mtime < 1 << 33 and name.isascii() and link.isascii():
        block = bytearray(
            HEADER.pack(
                name, b"%07o\0" % mode, b"0000000\0", b"0000000\0", b"%011o\0" % size, b"%011o\0" % mtime,
                b"        ", kind, link, b"ustar\0", b"00", b"", b"", b"", b"", b"",
            )
        )
        block[148:156] = b"%06o\0 " % sum(block)
        return bytes(block)
    import tarfile

    member = tarfile.TarInfo(to_text(name))
    member.mode, member.size, member.mtime, member.type = mode, size, mtime, kind
    member.linkname = to_text(link)
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def pack(root, target, exclude):
    stat = os.lstat(root)
    out = Buffered(target)
    count = size = 0
    is_directory = modes.S_ISDIR(stat.st_mode)
    if is_directory:
        skip = frozenset(name.strip(b"/") for name in exclude)
        todo = [(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), b"")]
        out.write(header(b"./", stat, b"5", 0))
        while todo:
            fd, prefix = todo.pop()
            if isinstance(fd, tuple):  # opened late, so that a deep tree does not use up descriptors
                parent, name = fd
                try:
                    fd = os.open(parent + b"/" + name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                except FileNotFoundError:
                    continue
            below = []
            for entry in os.scandir(fd):
                raw = os.fsencode(entry.name)
                name = prefix + raw
                if name in skip:
                    continue
                try:
                    stat = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                kind = modes.S_IFMT(stat.st_mode)
                if kind == modes.S_IFDIR:
                    out.write(header(name + b"/", stat, b"5", 0))
                    below.append(((os.path.join(root, prefix[:-1]) if prefix else root, raw), name + b"/"))
                elif kind == modes.S_IFREG:
                    done = add_file(out, name, entry.name, fd)
                    if done is not None:
                        count += 1
                        size += done
                elif kind == modes.S_IFLNK:
                    out.write(header(name, stat, b"2", 0, os.fsencode(os.readlink(entry.name, dir_fd=fd))))
                    count += 1
            os.close(fd)
            todo.extend(reversed(below))
    elif modes.S_ISLNK(stat.st_mode):
        out.write(header(os.path.basename(root), stat, b"2", 0, os.readlink(root)))
        count = 1
    elif modes.S_ISREG(stat.st_mode):
        size = add_file(out, os.path.basename(root), root, None)
        count = 1
    else:
        raise Refused("invalid-argument", "neither a file nor a directory")
    out.write(bytes(2 * BLOCK))
    out.flush()
    return {"files": count, "bytes": size, "isDirectory": is_directory}


def pack_only(root, target, only):
    """Exactly these names; a directory without what is in it. What is not there any more is left out."""
    out = Buffered(target)
    chain = Chain(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    count = size = 0
    for path in only:
        parts = split(path)
        if not parts:
            continue
        name = b"/".join(parts)
        try:
            parent = chain.directory(parts[:-1])
            stat = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            kind = modes.S_IFMT(stat.st_mode)
            if kind == modes.S_IFDIR:
                out.write(header(name + b"/", stat, b"5", 0))
            elif kind == modes.S_IFREG:
                done = add_file(out, name, parts[-1], parent, True)
                if done is not None:
                    count += 1
                    size += done
            elif kind == modes.S_IFLNK:
                out.write(header(name, stat, b"2", 0, os.readlink(parts[-1], dir_fd=parent)))
                count += 1
        except (FileNotFoundError, NotADirectoryError):
            continue
    out.write(bytes(2 * BLOCK))
    out.flush()
    return {"files": count, "bytes": size, "isDirectory": True}


def exact_time(stat):
    """A file written just now may be written again within the same second: only the fraction tells that."""
    if time.time() - stat.st_mtime >= 2:
        return b""
    record = b" mtime=%d.%09d\n" % divmod(stat.st_mtime_ns, 10**9)
    size = len(record) + 2  # the length counts its own two digits
    block = HEADER.pack(
        b"././@PaxHeader", b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"%011o\0" % 0,
        b"        ", b"x", b"", b"ustar\0", b"00", b"", b"", b"", b"", b"",
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:] + (b"%d" % size + record).ljust(BLOCK, b"\0")


def add_file(out, name, path, directory, exact=False):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        stat = os.fstat(fd)
        left = size = stat.st_size
        if exact:
            out.write(exact_time(stat))
        out.write(header(name, stat, b"0", size))
        if splice is not None and size >= CHUNK:
            left -= out.move(fd, size)
        while left:
            data = os.read(fd, min(left, CHUNK))
            if not data:
                raise Refused("conflict", "%s became shorter while it was read" % quoted(to_text(name)))
            out.write(data)
            left -= len(data)
        if size % BLOCK:
            out.write(bytes(BLOCK - size % BLOCK))
        return size
    finally:
        os.close(fd)


class Buffered:
    def __init__(self, fd):
        self.fd, self.parts, self.size = fd, [], 0

    def write(self, data):
        self.parts.append(data)
        self.size += len(data)
        if self.size >= 256 * 1024:
            self.flush()

    def move(self, source, size):
        """Moves bytes of a file inside the kernel, where it can: how many."""
        self.flush()
        done = 0
        try:
            while done < size:
                part = splice(source, self.fd, size - done)
                if part == 0:
                    break
                done += part
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
        return done

    def flush(self):
        write_all(self.fd, b"".join(self.parts) if len(self.parts) != 1 else self.parts[0])
        self.parts, self.size = [], 0


# -- in ---------------------------------------------------------------------------------------------------------------


class Input:
    def __init__(self, fd):
        self.fd, self.buffer, self.at = fd, b"", 0

    def read(self, size):
        """Exactly size bytes, or fewer at the end of the stream."""
        have = len(self.buffer) - self.at
        if have >= size:
            at = self.at
            self.at += size
            return self.buffer[at : self.at]
        parts = [self.buffer[self.at :]]
        self.buffer, self.at = b"", 0
        while have < size:
            data = os.read(self.fd, CHUNK)
            if not data:
                break
            need = size - have
            if len(data) > need:
                self.buffer, self.at = data, need
                data = data[:need]
            parts.append(data)
            have += len(data)
        return b"".join(parts)

    def move(self, target, size):
        """Moves bytes to a file inside the kernel, where it can: how many. Not worth it for small files."""
        if splice is None or size < CHUNK:
            return 0
        done = 0
        while self.at < len(self.buffer) and done < size:
            data = self.some(size - done)
            write_all(target, data)
            done += len(data)
        try:
            while done < size:
                part = splice(self.fd, target, size - done)
                if part == 0:
                    break
                done += part
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
        return done

    def some(self, most):
        if self.at < len(self.buffer):
            data = self.buffer[self.at : self.at + most]
            self.at += len(data)
            return data
        return os.read(self.fd, min(most, CHUNK))


def number(field):
    if field[0] & 0x80:
        return int.from_bytes(field, "big") & ((1 << 95) - 1)
    text = field.strip(b"\0 ")
    return int(text, 8) if text else 0


def members(stream):
    """(name, kind, size, mode, mtime, link); the content of a file must be read before the next one."""
    extra = {}
    while True:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise Refused("unsafe-archive", "the archive is cut off")
        if block == bytes(BLOCK):
            return
        fields = HEADER.unpack(block)
        try:
            size, checksum = number(fields[4]), number(fields[6])
            mode, mtime = number(fields[1]), number(fields[5])
        except ValueError:
            raise Refused("unsafe-archive", "not a tar archive")
        before, _, after = SUM.unpack(block)
        if sum(before) + sum(after) + 256 != checksum:
            raise Refused("unsafe-archive", "a header of the archive is damaged")
        kind = fields[7]
        if kind in (b"x", b"g", b"L", b"K"):
            if size > 1 << 20:
                raise Refused("unsafe-archive", "a header of %d bytes" % size)
            data = stream.read(size)
            stream.read(-size % BLOCK)
            if kind == b"L":
                extra["path"] = data.rstrip(b"\0")
            elif kind == b"K":
                extra["linkpath"] = data.rstrip(b"\0")
            elif kind == b"x":
                while data:
                    length, _, rest = data.partition(b" ")
                    length = int(length)
                    name, _, value = data[len(str(length)) + 1 : length - 1].partition(b"=")
                    extra[name.decode("ascii", "replace")] = value
                    data = data[length:]
            continue
        name = fields[0].partition(b"\0")[0]
        prefix = fields[15].partition(b"\0")[0]
        if prefix and fields[9] == b"ustar\0":
            name = prefix + b"/" + name
        name = extra.get("path", name)
        link = extra.get("linkpath", fields[8].partition(b"\0")[0])
        size = int(extra.get("size", size))
        mtime = float(extra.get("mtime", mtime))
        extra = {}
        if kind == b"\0":
            kind = b"5" if name.endswith(b"/") else b"0"
        yield name, kind, size, mode, mtime, link


class Chain:
    """Directories below one that nothing gets out of: every step is opened without following links."""

    def __init__(self, root):
        self.root = root
        self.chain = []  # (name, descriptor) of each directory on the way to the last one asked for

    def directory(self, names):
        """A descriptor that is good until the next call."""
        chain = self.chain
        common = 0
        while common < len(chain) and common < len(names) and chain[common][0] == names[common]:
            common += 1
        while len(chain) > common:
            os.close(chain.pop()[1])
        fd = chain[-1][1] if chain else self.root
        for name in names[common:]:
            fd = self.step(fd, name, names)
            chain.append((name, fd))
        return fd

    @staticmethod
    def step(parent, name, _names):
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


class Target(Chain):
    """A directory to unpack into: directories are made on the way."""

    def __init__(self, root):
        os.makedirs(root, 0o755, exist_ok=True)
        super().__init__(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self.later = {}

    @staticmethod
    def step(parent, name, names):
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(name, flags, dir_fd=parent)
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=parent)
            return os.open(name, flags, dir_fd=parent)
        except NotADirectoryError as error:
            why = error.strerror
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            why = "it is a link"
        raise Refused("unsafe-archive", "%s is in the way and is not a directory (%s)" % (quoted(to_text(b"/".join(names))), why))


def split(name):
    parts = tuple(part for part in name.split(b"/") if part and part != b".")
    if name.startswith(b"/") or b".." in parts or b"\0" in name:
        raise Refused("unsafe-archive", "the archive names %s, outside of the target" % quoted(to_text(name)))
    return parts


def unpack(root, fd, as_file, sync):
    stream = Input(fd)
    count = total = 0
    if as_file:
        path = root.rstrip(b"/")
        if os.path.isdir(path):
            raise Refused("is-a-directory", "%s is a directory; give the file's own path" % quoted(to_text(path)))
        root, single = os.path.dirname(path) or b"/", os.path.basename(path)
    else:
        single = None
    # In a directory that is not there yet nobody reads: its files are made under their own names at once.
    fresh = single is None and not os.path.lexists(root)
    target = Target(root)
    umask = os.umask(0)
    temporary = b".anyplace-%d-" % os.getpid()
    for name, kind, size, mode, mtime, link in members(stream):
        parts = (single,) if single is not None else split(name)
        if kind == b"5":
            if parts and single is None:
                directory = target.directory(parts)
                os.fchmod(directory, (mode & MODE_MASK) | 0o700)
                target.later[parts] = (mode & MODE_MASK, mtime)
            stream.read((size + BLOCK - 1) // BLOCK * BLOCK)
            continue
        if not parts:
            raise Refused("unsafe-archive", "the archive has an entry without a name")
        parent = target.directory(parts[:-1])
        last = parts[-1]
        if kind in (b"0", b"7"):
            partial = last if fresh else temporary + b"%d" % count
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                out = os.open(partial, flags, mode & MODE_MASK, dir_fd=parent)
            except FileExistsError:  # the archive names it twice
                partial = temporary + b"%d" % count
                out = os.open(partial, flags, mode & MODE_MASK, dir_fd=parent)
            try:
                left = size - stream.move(out, size)
                while left:
                    data = stream.some(left)
                    if not data:
                        raise Refused("unsafe-archive", "the archive is cut off in %s" % quoted(to_text(name)))
                    left -= len(data)
                    write_all(out, data)
                os.utime(out, (mtime, mtime))
                os.close(out)
                if partial is not last:
                    replace(partial, last, parent)
            except BaseException:
                try:
                    os.unlink(partial, dir_fd=parent)
                except OSError:
                    pass
                raise
            if size % BLOCK:
                stream.read(BLOCK - size % BLOCK)
            total += size
        elif kind == b"2":
            # the link may point anywhere: nothing here follows it, and what it points to is the user's own choice
            partial = temporary + b"%d" % count
            os.symlink(link, partial, dir_fd=parent)
            replace(partial, last, parent)
        elif kind == b"1":
            other = split(link)
            if not other:
                raise Refused("unsafe-archive", "the hard link %s points to nothing" % quoted(to_text(name)))
            partial = temporary + b"%d" % count
            source = os.dup(target.directory(other[:-1]))
            try:
                parent = target.directory(parts[:-1])
                os.link(other[-1], partial, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
            replace(partial, last, parent)
        else:
            raise Refused("unsafe-archive", "%s is a device or another special file" % quoted(to_text(name)))
        count += 1
        if single is not None:
            break
    for parts in sorted(target.later, key=len, reverse=True):
        mode, mtime = target.later[parts]
        directory = target.directory(parts)
        os.fchmod(directory, mode)
        os.utime(directory, (mtime, mtime))
    os.umask(umask)
    if sync:
        os.sync()
    return {"files": count, "bytes": total}


def replace(partial, last, parent):
    try:
        os.rename(partial, last, src_dir_fd=parent, dst_dir_fd=parent)
    except IsADirectoryError:
        os.unlink(partial, dir_fd=parent)
        raise Refused("is-a-directory", "%s is a directory in the target and a file in the source" % quoted(to_text(last)))

