"""The daemon's side of a slot's keepers, and of its own view of processes where it has one."""
import marshal

import _socket
import keepers
import trees

IDLE_KEPT = 2
NOBODY = 0x7FFFFFFE  # a pid that no kernel gives


class NestedKeeper(keepers.Keeper):
    """In a slot's own view of processes: what it reports is counted there."""

    __slots__ = ()

    def outside(self, parent, pid):
        for child in trees.children_of(parent.pid):
            try:
                with open("/proc/%d/status" % child, "rb") as file:
                    data = file.read()
            except OSError:
                continue
            at = data.find(b"\nNSpid:")
            if at >= 0 and int(data[at + 7 : data.find(b"\n", at + 1)].split()[-1]) == pid:
                return child
        return NOBODY  # it has ended already


class Holder:
    """Process 1 of a slot's own view."""

    def __init__(self, pool, uid, temporary, done):
        self.loop, self.done = pool.loop, done
        self.sock = pool.order(b"n")
        self.pid = 0
        self.buffer = b""
        setup = marshal.dumps((uid, temporary))
        self.sock.sendall(len(setup).to_bytes(4, "big") + setup)
        self.loop.watch(self.sock.fileno(), self.readable, read=True)

    def readable(self, _events):
        try:
            data = self.sock.recv(4096, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.buffer += data
        if self.buffer[:1] == b"P" and len(self.buffer) >= 9:
            self.pid = int.from_bytes(self.buffer[1:9], "big")
            self.loop.unwatch(self.sock.fileno())
            return self.done(None)
        if data and len(self.buffer) < 9 + int.from_bytes(self.buffer[1:9], "big"):
            return
        self.close()
        self.done(self.buffer[9:].decode("utf-8", "replace") or "it ended at once")

    def order(self):
        ours, theirs = keepers.pair()
        try:
            keepers.send_fds(self.sock, b"s", [theirs.fileno()])
        finally:
            theirs.close()
        return ours

    def close(self):
        self.loop.unwatch(self.sock.fileno())
        self.sock.close()


class SlotKeepers:
    """The keepers of one slot; as KeeperPool, but with one user."""

    def __init__(self, pool, setup, holder=None):
        self.pool, self.loop, self.holder = pool, pool.loop, holder
        self.pid = holder.pid if holder is not None else 0
        self.setup = marshal.dumps(setup)
        self.idle = []
        self.all = set()
        self.busy = pool.busy  # the daemon is not idle while one of ours works
        self.closed = False

    def fork(self):
        sock = self.pool.order(b"s") if self.holder is None else self.holder.order()
        sock.sendall(len(self.setup).to_bytes(4, "big") + self.setup)
        keeper = keepers.Keeper(self, sock) if self.holder is None else NestedKeeper(self, sock)
        self.all.add(keeper)
        self.loop.watch(sock.fileno(), keeper.readable, read=True)
        return keeper

    def take(self):
        keeper = self.idle.pop() if self.idle else self.fork()
        self.busy.add(keeper)
        return keeper

    def give_back(self, keeper):
        self.busy.discard(keeper)
        if keeper.closed:
            return
        if self.closed or len(self.idle) >= IDLE_KEPT:
            keeper.closed = True
            return self.forget(keeper)
        self.idle.append(keeper)

    def forget(self, keeper):
        self.busy.discard(keeper)
        self.all.discard(keeper)
        if keeper in self.idle:
            self.idle.remove(keeper)
        self.loop.unwatch(keeper.sock.fileno())
        keeper.sock.close()

    def pids(self):
        return [keeper.pid for keeper in self.all if keeper.pid]

    def lose(self):
        """They have been killed with the slot's processes."""
        self.closed = True
        for keeper in tuple(self.all):
            keeper.lost()
        if self.holder is not None:
            self.holder.close()
