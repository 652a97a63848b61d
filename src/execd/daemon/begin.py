"""The daemon's processes, each made before the next grows: the supervisor, the zygote that keepers are forked from, the daemon."""
import os
import time

import _signal
import supervisor
import trees
import wire
from keepers import Zygote


def begin(parts, listener_fd, expiry_fd):
    """In the process that is to be the supervisor (or, under an external one, the daemon itself). Never returns."""
    config = wire.loads(parts[b"config"])
    os.umask(0o022)
    any_peer = parts.get(b"role") == b"heir"
    # From the wall clock's moments to the boot clock's, which nobody sets: the same for the supervisor and the daemon.
    to_boot = supervisor.boot_ms() - supervisor.now_ms()
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    if parts[b"supervisor"] != b"self":
        return serve(config, listener_fd, expiry_fd, None, any_peer, to_boot)
    if not config.get("servesMachine"):
        supervisor.prctl(supervisor.PR_SET_CHILD_SUBREAPER, 1)
    lifeline, theirs = os.pipe()
    daemon = os.fork()
    if daemon == 0:
        os.close(theirs)
        serve(config, listener_fd, expiry_fd, lifeline, any_peer, to_boot)
    os.close(lifeline)
    os.close(listener_fd)
    supervisor.be_untraceable()

    def kill_the_rest():
        if config["ownPidNamespace"] or config.get("servesMachine"):
            return  # our end, as pid 1, is theirs; or they are sandboxes of their own
        for _ in range(500):
            alive = trees.kill_pass(os.getpid())
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                break
            if not alive:
                break
            time.sleep(0.002)
        words = [wire.to_bytes(word, "atEnd") for word in config.get("atEnd") or ()]
        if words:
            os.execve(words[0], words, {b"PATH": b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})

    supervisor.supervise(
        config["expiresAtMs"] + to_boot,
        config["maxExpiresAtMs"] + to_boot,
        expiry_fd,
        daemon,
        None,
        kill_the_rest,
    )


def serve(config, listener_fd, expiry_fd, lifeline, any_peer, to_boot):
    try:
        zygote = Zygote(not config.get("servesMachine"))
        import daemon

        daemon.serve(config, listener_fd, expiry_fd, lifeline, any_peer, to_boot, zygote)
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    os._exit(70)
