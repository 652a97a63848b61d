# Input: state, id, name, cgroups. Ends the sandbox's processes and removes everything of it.
def wait_for_start(run_directory):
    """A start that was given up may be between its fork and the writing of the pid file: its lock tells."""
    until = time.monotonic() + 2
    while not os.path.exists(run_directory + "/supervisor.pid") and time.monotonic() < until:
        try:
            lock = os.open(run_directory + "/lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError:
            time.sleep(0.005)
        finally:
            os.close(lock)


def main():
    given = loads(sys.stdin.read())
    state, identity, name = given["state"], given["id"], given["name"]
    directory = "%s/sandboxes/%s" % (state, identity)
    supervisor = directory + "/run/supervisor.pid"
    wait_for_start(directory + "/run")
    # A supervisor that gets SIGTERM ends its sandbox first; one that does not answer takes its sandbox with it.
    if not signal_and_wait(supervisor, _signal.SIGTERM, 10):
        signal_and_wait(supervisor, _signal.SIGKILL, 10)
    signal_and_wait(directory + "/init.pid", _signal.SIGKILL, 10)
    kill_marked(identity)
    release(state, name, identity, given["cgroups"])
    aside = put_aside(state, identity)
    print(dumps({"removed": remove_tree(aside), "directory": aside}))


main()
