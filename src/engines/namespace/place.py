"""Builds a namespace sandbox and keeps it: argv is a plan (JSON) and then the command that becomes its process 1.

Run as root it maps an unprivileged host uid of the sandbox's own; run as anybody else, that user's uid. Either way the
command has no capability in any namespace and can gain none. The descriptors 0, 2, 10 and 11 go through to the command.
This process stays outside as the keeper: when process 1 ends (or this gets SIGTERM), everything of the sandbox is removed.
When the keeper dies instead, the kernel kills process 1 and with it every process of the sandbox.
"""
import ctypes
import stat

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_IDMAP = 1, 2, 4, 0x100000
AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442  # the same on every architecture
PIVOT_ROOT = {"x86_64": 155, "i686": 217, "armv7l": 218, "ppc64le": 203, "s390x": 217}
KEYCTL = {"x86_64": 250, "i686": 288, "armv7l": 311, "ppc64le": 271, "s390x": 280}
SYSTEM_DIRECTORIES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What programs need to find users, libraries, certificates and time zones. Nothing here is secret on any distribution.
ETC_FILES = (
    "ld.so.cache ld.so.conf localtime timezone mime.types protocols services os-release debian_version alpine-release"
    " redhat-release lsb-release nsswitch.conf shells inputrc bash.bashrc profile magic gai.conf"
).split()
ETC_DIRECTORIES = (
    "ld.so.conf.d alternatives ssl/certs ca-certificates pki/tls/certs pki/ca-trust crypto-policies fonts terminfo"
    " python3 python3.9 python3.10 python3.11 python3.12 python3.13 python3.14 perl"
).split()
# CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, and SYS_ADMIN for a slot's own view: of the exec daemon of a sandbox with slots, over its own users only
SLOT_RIGHTS = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 21
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """One line for the person who reads the error; `what` names the step."""


def say(text):
    os.write(2, b"anyplace-namespace: " + text.replace("\n", " ").encode("utf-8", "replace") + b"\n")


def must(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise Failed("%s: %s" % (what, os.strerror(number)))
    return result


def syscall(number, *arguments):
    return libc.syscall(ctypes.c_long(number), *arguments)


def machine_number(table, others):
    return table.get(os.uname().machine, others)


def mount(source, target, kind=None, flags=0, data=None):
    text = [None if part is None else os.fsencode(part) for part in (source, target, kind, data)]
    must(libc.mount(text[0], text[1], text[2], ctypes.c_ulong(flags), text[3]), "mount %s" % target)


def set_attributes(path_or_fd, attributes, userns=0, recursive=True):
    data = (ctypes.c_uint64 * 4)(attributes, 0, 0, userns)
    flags = AT_RECURSIVE if recursive else 0
    if isinstance(path_or_fd, int):
        fd, name, flags = path_or_fd, b"", flags | AT_EMPTY_PATH
    else:
        fd, name = AT_FDCWD, os.fsencode(path_or_fd)
    return syscall(MOUNT_SETATTR, ctypes.c_int(fd), name, ctypes.c_uint(flags), data, ctypes.c_size_t(32))


def restrict(target, writable):
    """No set-uid programs, no devices, and read-only unless writable: on this mount and all below it."""
    if set_attributes(target, ATTR_NOSUID | ATTR_NODEV | (0 if writable else ATTR_RDONLY)) == 0:
        return
    # Linux before 5.12: one mount at a time. Flags that are set already are locked in a user namespace, so they are kept.
    kept = {"nosuid": NOSUID, "nodev": NODEV, "noexec": NOEXEC, "ro": RDONLY, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.split(" ") for line in file]
    for fields in lines:
        point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
        if point == target or point.startswith(target + "/"):
            flags = NOSUID | NODEV | (0 if writable else RDONLY)
            for option in fields[5].split(","):
                flags |= kept.get(option, 0)
            mount(None, point, None, REMOUNT | BIND | flags)


def bind(source, target, writable=False):
    mount(source, target, None, BIND | REC)
    restrict(target, writable)


def make_directory(path, mode=0o755):
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        pass


def write_text(path, text, mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        os.write(fd, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except OSError:
        return None


# --- the root view -------------------------------------------------------------------------------------------------


def build_root(root, plan):
    mount("anyplace", root, "tmpfs", NOSUID | NODEV, "mode=755,size=16m")
    os.chmod(root, 0o755)
    for name in ("usr", "etc", "proc", "dev", "run", "tmp", "var", "home", "sys", "workspace"):
        make_directory(root + "/" + name)
    bind("/usr", root + "/usr")
    for name in SYSTEM_DIRECTORIES:
        host = "/" + name
        if os.path.islink(host):
            os.symlink(os.readlink(host), root + host)
        elif os.path.isdir(host):
            make_directory(root + host)
            bind(host, root + host)
    if os.path.isdir("/nix/store"):
        os.makedirs(root + "/nix/store")
        bind("/nix/store", root + "/nix/store")
    os.symlink("../run", root + "/var/run")
    os.symlink("../tmp", root + "/var/tmp")
    build_etc(root + "/etc", plan)
    build_dev(root + "/dev", plan)
    directory = plan["directory"]
    bind(directory + "/tmp", root + "/tmp", True)
    make_directory(root + "/home/sandbox")
    bind(directory + "/home", root + "/home/sandbox", True)
    if plan["cgroups"]:
        show_cgroups(root, plan)


def build_etc(etc, plan):
    uid, gid = plan["inside_uid"], plan["inside_gid"]
    write_text(etc + "/passwd", "root:x:0:0:root:/:/usr/sbin/nologin\nsandbox:x:%d:%d:sandbox:/home/sandbox:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n" % (uid, gid))
    write_text(etc + "/group", "root:x:0:\nsandbox:x:%d:\nnogroup:x:65534:\n" % gid)
    write_text(etc + "/hostname", plan["hostname"] + "\n")
    hosts = "127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost\n" % plan["hostname"]
    if plan["network"]:
        hosts += read_text("/etc/hosts") or ""
        resolver = read_text("/etc/resolv.conf")
        if resolver is not None:
            write_text(etc + "/resolv.conf", resolver)
    write_text(etc + "/hosts", hosts)
    for name in ETC_FILES:
        try:
            with open("/etc/" + name, "rb") as file:
                content = file.read(4 << 20)
            with open(etc + "/" + name, "xb") as file:
                file.write(content)
        except OSError:
            continue  # not on this distribution
    if not os.path.exists(etc + "/nsswitch.conf"):
        write_text(etc + "/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    os.symlink("/proc/self/mounts", etc + "/mtab")
    for name in ETC_DIRECTORIES:
        if os.path.isdir("/etc/" + name):
            os.makedirs(etc + "/" + name, exist_ok=True)
            bind(os.path.realpath("/etc/" + name), etc + "/" + name)
    if os.path.isfile("/etc/ssl/openssl.cnf"):
        write_text(etc + "/ssl/openssl.cnf", read_text("/etc/ssl/openssl.cnf") or "") if os.path.isdir(etc + "/ssl") else None


def build_dev(dev, plan):
    mount("anyplace", dev, "tmpfs", NOSUID | NOEXEC, "mode=755,size=1m")
    os.chmod(dev, 0o755)
    for name in DEVICES + tuple(plan["devices"]):
        os.makedirs(os.path.dirname(dev + "/" + name), exist_ok=True)
        os.close(os.open(dev + "/" + name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        # A device must stay usable, so it is bound without `nodev`.
        mount("/dev/" + name, dev + "/" + name, None, BIND)
        set_attributes(dev + "/" + name, ATTR_NOSUID)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"), ("core", "/proc/kcore")):
        os.symlink(target, dev + "/" + name)
    make_directory(dev + "/pts")
    mount("devpts", dev + "/pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    make_directory(dev + "/shm")
    # Slots are shut out of what everybody may write, by the sandbox's own root: it must be the owner.
    owner = ",uid=%d,gid=%d" % (plan["slots"]["host_root"], plan["slots"]["host_root"]) if plan["slots"] else ""
    mount("anyplace", dev + "/shm", "tmpfs", NOSUID | NODEV, "mode=1777" + owner)
    if plan["slots"]:
        make_directory(dev + "/mqueue")
        mount("mqueue", dev + "/mqueue", "mqueue", NOSUID | NODEV | NOEXEC)
        os.chown(dev + "/mqueue", plan["slots"]["host_root"], plan["slots"]["host_root"])
    mount(None, dev, None, REMOUNT | BIND | RDONLY | NOSUID | NODEV | NOEXEC)


def show_cgroups(root, plan):
    """The limits as programs look for them: read-only, this sandbox's group only."""
    mount("anyplace", root + "/sys", "tmpfs", NOSUID | NODEV | NOEXEC, "mode=755,size=1m")
    base = root + "/sys/fs/cgroup"
    os.makedirs(base)
    for name, path in plan["cgroups"].items():
        target = base if name == "unified" else base + "/" + name
        make_directory(target)
        bind(path, target)
    mount(None, root + "/sys", None, REMOUNT | BIND | RDONLY | NOSUID | NODEV | NOEXEC)


def open_inside(root, path, is_directory):
    """The target of a mount, made when missing. No part of it may be a link: it would lead out of the new root."""
    current = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    parts = [part for part in path.split("/") if part]
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            inner = os.open(part, flags, dir_fd=current)
        except FileNotFoundError:
            try:
                if last and not is_directory:
                    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=current))
                else:
                    os.mkdir(part, 0o755, dir_fd=current)
                inner = os.open(part, flags, dir_fd=current)
            except OSError as error:
                raise Failed("cannot make the mount target %s: %s" % (path, error.strerror))
        mode = os.fstat(inner).st_mode
        if stat.S_ISLNK(mode):
            raise Failed("the mount target %s leads through a link" % path)
        if stat.S_ISDIR(mode) != (is_directory or not last):
            raise Failed("the mount target %s is %s" % (path, "a directory" if stat.S_ISDIR(mode) else "no directory"))
        os.close(current)
        current = inner
    return current


def join(cgroup):
    with open(cgroup + "/cgroup.procs", "w") as file:
        file.write("0")


def mount_given(root, plan):
    for entry in sorted(plan["mounts"], key=lambda entry: entry["target"].count("/")):
        source, target, writable = entry["source"], entry["target"], entry["writable"]
        try:
            status = os.stat(source)
        except OSError as error:
            raise Failed("cannot mount %s: %s" % (source, error.strerror))
        where = open_inside(root, target, stat.S_ISDIR(status.st_mode))
        point = "/proc/self/fd/%d" % where
        owned = plan["host_uid"] is None or entry.get("own", False)
        if owned or not mount_mapped(source, point, entry.get("userns")):
            if not owned and not reachable(status, writable):
                raise Failed("cannot give %s to the sandbox's own user: its file system cannot be id-mapped and others may not %s it" % (source, "write" if writable else "read"))
            mount(source, point, None, BIND | REC)
        os.close(where)
        restrict(os.path.normpath(root + "/" + target), writable)


def reachable(status, writable):
    needed = 0o4 | (0o1 if stat.S_ISDIR(status.st_mode) else 0) | (0o2 if writable else 0)
    return status.st_mode & needed == needed


def mount_mapped(source, point, userns):
    """Shows the files of the source's owner as the sandbox user's, in both directions. False where the kernel cannot."""
    if userns is None:
        return False
    tree = syscall(OPEN_TREE, ctypes.c_int(AT_FDCWD), os.fsencode(source), ctypes.c_uint(1 | os.O_CLOEXEC | AT_RECURSIVE))
    if tree < 0:
        return False
    try:
        if set_attributes(tree, ATTR_IDMAP, userns) < 0:
            return False
        return syscall(MOVE_MOUNT, ctypes.c_int(tree), b"", ctypes.c_int(AT_FDCWD), os.fsencode(point), ctypes.c_uint(0x4 | 0x10)) == 0
    finally:
        os.close(tree)


def mapping_namespace(uid_map, gid_map):
    """A user namespace that exists only to be a mapping."""
    read_end, write_end = os.pipe()
    done_read, done_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(done_write)
        ok = libc.unshare(NEWUSER) == 0
        os.write(write_end, b"1" if ok else b"0")
        os.read(done_read, 1)
        os._exit(0)
    os.close(done_read)
    os.close(write_end)
    try:
        if os.read(read_end, 1) != b"1":
            raise Failed("user namespace for a mount: not permitted")
        write_text("/proc/%d/uid_map" % pid, uid_map)
        write_text("/proc/%d/gid_map" % pid, gid_map)
        return os.open("/proc/%d/ns/user" % pid, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(done_write)
        os.close(read_end)
        os.waitpid(pid, 0)


def enter_root(root):
    os.chdir(root)
    must(syscall(machine_number(PIVOT_ROOT, 41), b".", b"."), "pivot_root")
    must(libc.umount2(b".", DETACH), "leave the old root")
    os.chdir("/")
    mount(None, "/", None, REMOUNT | BIND | RDONLY | NOSUID | NODEV)


# --- rights --------------------------------------------------------------------------------------------------------


def bring_loopback_up():
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 1))


def forbid_namespaces():
    """A user namespace of the user's own would bring all capabilities back there, and with them most of the kernel's attack surface."""
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")


def drop_all_but(kept):
    for capability in range(64):
        if not kept >> capability & 1 and libc.prctl(24, capability, 0, 0, 0) < 0:  # PR_CAPBSET_DROP
            break
    libc.prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT_CLEAR_ALL
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    must(libc.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)), "drop capabilities")
    must(libc.prctl(38, 1, 0, 0, 0), "set no-new-privileges")
    # The client's keyring may hold Kerberos tickets and keys of encrypted disks.
    syscall(machine_number(KEYCTL, 219), ctypes.c_int(1), None)
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")) and int(line.split()[1], 16) & ~kept != 0:
                raise Failed("capabilities are left: %s" % line.strip())


def inside(plan, command, from_keeper, to_keeper, errors):
    """Process 1. Returns never."""
    step = "control groups"
    try:
        for path in plan["cgroups"].values():
            join(path)
        step = "namespaces"
        as_root = plan["host_uid"] is not None
        kinds = NEWNS | NEWIPC | NEWUTS | (0 if plan["network"] else NEWNET)
        must(libc.unshare(kinds), "unshare")
        libc.unshare(NEWCGROUP)
        os.setsid()
        step = "root view"
        mount(None, "/", None, REC | PRIVATE)
        root = plan["directory"] + "/root"
        build_root(root, plan)
        mount_given(root, plan)
        step = "process view"
        mount("proc", root + "/proc", "proc", NOSUID | NODEV | NOEXEC)
        enter_root(root)
        step = "network"
        if not plan["network"]:
            bring_loopback_up()
        hostname = os.fsencode(plan["hostname"])
        libc.sethostname(hostname, len(hostname))
        step = "user"
        if as_root:
            os.setgroups([])
            must(libc.unshare(NEWUSER), "unshare the user namespace")
            os.write(to_keeper, b"u")
            if os.read(from_keeper, 1) != b"u":
                os._exit(1)
        forbid_namespaces()
        if as_root:
            # With slots the daemon is root inside, so that it can switch users; commands get none of what it keeps.
            os.setresgid(*(0 if plan["slots"] else plan["inside_gid"],) * 3)
            os.setresuid(*(0 if plan["slots"] else plan["inside_uid"],) * 3)
        drop_all_but(SLOT_RIGHTS if plan["slots"] else 0)
        step = "keeper"
        libc.prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG: after the change of user, which clears it
        os.write(to_keeper, b"r")
        if os.read(from_keeper, 1) != b"g":
            os._exit(1)
        step = "start"
        os.umask(0o022)
        os.execve(command[0], command, {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    except BaseException as error:
        # First to the log: as soon as we let go of the socket, the connector looks there.
        say("%s: %s" % (step, error))
        os.write(errors, b"e")
    os._exit(70)


# --- the keeper ----------------------------------------------------------------------------------------------------


def prepare_mappings(plan):
    """Before the fork: inside its process namespace, process 1 could not tell the kernel whose mapping it writes."""
    for entry in plan["mounts"]:
        if entry["own"]:
            continue
        try:
            status = os.stat(entry["source"])
        except OSError as error:
            raise Failed("cannot mount %s: %s" % (entry["source"], error.strerror))
        if plan["host_uid"] is not None:
            entry["userns"] = mapping_namespace("%d %d 1" % (status.st_uid, plan["host_uid"]), "%d %d 1" % (status.st_gid, plan["host_gid"]))


def become_user_root(plan):
    """As an ordinary user: a user namespace first, since only in one of our own may we make the others."""
    uid, gid = os.geteuid(), os.getegid()
    must(libc.unshare(NEWUSER), "user namespace")
    try:
        write_text("/proc/self/setgroups", "deny")
        write_text("/proc/self/uid_map", "%d %d 1" % (plan["inside_uid"], uid))
        write_text("/proc/self/gid_map", "%d %d 1" % (plan["inside_gid"], gid))
    except OSError as error:
        raise Failed("user namespace: cannot map uid %d: %s" % (uid, error.strerror))


def keep(plan, command):
    ended = {}

    def on_term(_number, _frame):
        ended["term"] = True
        if "pid" in ended:
            os.kill(ended["pid"], _signal.SIGKILL)

    _signal.signal(_signal.SIGTERM, on_term)
    for number in (_signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_IGN)
    prepare_mappings(plan)
    if plan["host_uid"] is None:
        become_user_root(plan)
    must(libc.unshare(NEWPID), "process namespace")
    to_inside_read, to_inside = os.pipe()
    from_inside, from_inside_write = os.pipe()
    errors_read, errors_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, _signal.SIG_DFL)
        for fd in (to_inside, from_inside, errors_read):
            os.close(fd)
        inside(plan, command, to_inside_read, from_inside_write, errors_write)
    ended["pid"] = pid
    for fd in (to_inside_read, from_inside_write, errors_write):
        os.close(fd)
    # The descriptors meant for the command must not be held open by us.
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    for fd in (10, 11):
        try:
            os.close(fd)
        except OSError:
            pass
    if ended.get("term"):
        os.kill(pid, _signal.SIGKILL)
    while True:
        said = os.read(from_inside, 1)
        if said == b"u":
            more = ""
            if plan["slots"]:
                slots = plan["slots"]
                more = "\n0 %d 1\n%d %d %d" % (slots["host_root"], slots["first"], slots["host_first"], slots["count"])
            write_text("/proc/%d/uid_map" % pid, "%d %d 1%s" % (plan["inside_uid"], plan["host_uid"], more))
            write_text("/proc/%d/gid_map" % pid, "%d %d 1%s" % (plan["inside_gid"], plan["host_gid"], more))
            os.write(to_inside, b"u")
        elif said == b"r":
            if not plan["probe"]:
                write_text(plan["directory"] + "/init.pid", "%d %s\n" % (pid, start_time(pid)), 0o600)
            os.write(to_inside, b"g")
        else:
            break
    failed = os.read(errors_read, 1) != b""
    _, status = os.waitpid(pid, 0)
    return not failed, status


def vanish(directory):
    """Ends as `rm`: we can fork no more, because children would be born into the process namespace that has ended."""
    rights = 1 << 1 | 1 << 3  # CAP_DAC_OVERRIDE, CAP_FOWNER: of an ordinary user's keeper, over that user's files only
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)(rights, rights, rights, 0, 0, 0))
    for capability in (1, 3):
        libc.prctl(47, 2, capability, 0, 0)  # PR_CAP_AMBIENT_RAISE
    for program in ("/bin/rm", "/usr/bin/rm"):
        try:
            os.execve(program, [program, "-rf", "--", directory], {"PATH": "/usr/bin:/bin"})
        except OSError:
            continue
    os._exit(70)


def main():
    plan = loads(sys.argv[1])
    began = time.monotonic()
    try:
        started, status = keep(plan, sys.argv[2:])
    except (Failed, OSError) as failure:
        say(str(failure))
        started, status = False, 0
    if plan["probe"]:
        os._exit(0 if started and status == 0 else 70)
    # A start that failed leaves its log for the one who started it; that one, or gc, removes the rest.
    if not started or (status != 0 and time.monotonic() - began < 5):
        os._exit(70)
    os.chdir("/")
    release(plan["state"], plan["name"], plan["id"], list(plan["cgroups"].values()))
    vanish(put_aside(plan["state"], plan["id"]))


main()
