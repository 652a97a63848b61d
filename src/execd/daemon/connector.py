"""What a client starts in the place: makes the daemon run, gives it our stdin and stdout, and waits until it lets go."""
import os
import sys

import _socket

SOCKET = b"execd.sock"


def say(text, code):
    os.write(2, b"anyplace-execd: " + text.encode("utf-8", "replace") + b"\n")
    os._exit(code)


def try_connect(wait=False):
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        sock.connect(SOCKET)
        return sock
    except OSError:
        sock.close()
        return None


def main(parts):
    run = parts[b"run_directory"]
    try:
        if parts[b"start"] == b"1":
            os.makedirs(run, 0o700, exist_ok=True)
        os.chdir(run)  # a socket path is limited to 107 bytes: a relative one always fits
    except OSError as error:
        if parts[b"start"] != b"1" and isinstance(error, FileNotFoundError):
            say("no daemon runs in %r" % os.fsdecode(run), 75)
        say("cannot use %r: %s" % (os.fsdecode(run), error), 73)
    if os.stat(b".").st_uid != os.geteuid():
        say("%r belongs to somebody else" % os.fsdecode(run), 77)
    sock = try_connect()
    if sock is None:
        if parts[b"start"] != b"1":
            say("no daemon runs in %r" % os.fsdecode(run), 75)
        start(parts)
        sock = try_connect()
        if sock is None:
            say("the daemon did not start", 70)
    rights = b"".join([fd.to_bytes(4, sys.byteorder) for fd in (0, 1)])
    sock.sendmsg([b"\x01"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    os.close(0)
    os.close(1)
    accepted = False
    try:
        while sock.recv(1):
            accepted = True
    except OSError:
        pass
    if not accepted:
        try:
            with open(b"log", "rb") as file:
                tail = file.read()[-2000:]
        except OSError:
            tail = b""
        say("the daemon ended while it started: " + tail.decode("utf-8", "replace"), 70)
    os._exit(0)


def start(parts):
    """One daemon, however many connectors come at once: the lock is held until the socket listens."""
    import fcntl

    lock = os.open(b"lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    probe = try_connect()
    if probe is not None:
        probe.close()
        return
    try:
        os.unlink(SOCKET)
    except OSError:
        pass
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listener.bind(SOCKET)
    os.chmod(SOCKET, 0o600)
    listener.listen(64)
    expiry = os.open(b"expiry", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    ready_read, ready_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.close(ready_read)
            os.close(lock)  # held until the socket listens, not as long as the daemon lives
            if parts[b"supervisor"] == b"self":
                pid = os.fork()
                if pid:
                    record(b"supervisor.pid", pid)
                    os.write(ready_write, b"1")
                    os._exit(0)
            detach(parts, listener, expiry, ready_write)
        except BaseException as error:
            try:
                os.write(2, ("anyplace-execd: %r\n" % (error,)).encode("utf-8", "replace"))
            finally:
                os._exit(70)
    os.close(ready_write)
    listener.close()
    os.close(expiry)
    if os.read(ready_read, 1) != b"1":
        say("the daemon could not be started", 70)
    os.close(ready_read)
    if parts[b"supervisor"] == b"self":
        os.waitpid(child, 0)
    os.close(lock)


def record(name, pid):
    """Pid and start time: together they name a process for good."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            data = file.read()
        started = data[data.rfind(b")") + 2 :].split()[19]
    except (OSError, IndexError):
        started = b"0"
    temporary = name + b".new"
    with open(temporary, "wb") as file:
        file.write(b"%d %s\n" % (pid, started))
    os.rename(temporary, name)


def detach(parts, listener, expiry, ready):
    null = os.open(b"/dev/null", os.O_RDWR)
    log = os.open(b"log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    for target, fd in ((0, null), (1, null), (2, log)):
        os.dup2(fd, target)
    wrap = [word for word in parts.get(b"wrap", b"").split(b"\0") if word]
    if not wrap:
        if parts[b"supervisor"] != b"self":
            record(b"execd.pid", os.getpid())
            os.write(ready, b"1")
        os.close(ready)
        import begin

        begin.begin(parts, listener.detach(), expiry)
    # Another program (bwrap) is started first: everything it needs travels in inherited descriptors, and the listening
    # socket with them, so that nothing of the run directory is visible inside.
    import fcntl

    inner = dict(parts, wrap=b"", role=b"heir")
    inner = {name if isinstance(name, bytes) else name.encode(): value for name, value in inner.items()}
    data = b"".join(b"%s %d\n%s\n" % (name, len(value), value) for name, value in inner.items())
    bundle = os.memfd_create("bundle", 0)
    view = memoryview(data)
    while view:
        view = view[os.write(bundle, view) :]
    os.lseek(bundle, 0, os.SEEK_SET)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in (bundle, listener.fileno(), expiry)]
    for target, fd in zip((0, 10, 11), high):
        os.dup2(fd, target)
    os.closerange(12, 256)
    loader = parts[b"loader"]
    words = wrap + [parts[b"python"], b"-I", b"-S", b"-c", loader, b"%d" % len(data)]
    try:
        os.execve(words[0], words, {b"PATH": b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    except OSError as error:
        os.write(2, b"cannot start %s: %s\n" % (words[0], str(error).encode()))
        os._exit(70)


def heir(parts):
    """Started by `detach` through another program: descriptors 10 and 11 are the listening socket and the expiry."""
    null = os.open(b"/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    import begin

    begin.begin(parts, 10, 11)
