"""Who may talk to the daemon, and over what: the first byte on its socket says how the frames come."""
import os
import sys

import _socket
import keepers

# Nobody else waits meanwhile: what connects may be far away, and its first byte on the way.
GREETING_SECONDS = 5
PASSED = b"\x01"  # through the two descriptors that come with it; the connector that sent them lives as long as the connection
HERE = b"\x02"  # through this very socket


class Arrivals:
    def __init__(self, loop, listener_fd, any_peer, connect):
        self.loop, self.any_peer, self.connect = loop, any_peer, connect
        self.listener = _socket.socket(fileno=listener_fd)
        self.listener.setblocking(False)
        os.set_inheritable(listener_fd, False)
        loop.watch(listener_fd, self.accept, read=True)

    def accept(self, _events):
        try:
            fd, _ = self.listener._accept()
        except OSError:
            return
        os.set_inheritable(fd, False)
        sock = _socket.socket(fileno=fd)
        peer = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        uid = int.from_bytes(peer[4:8], sys.byteorder)
        if not self.any_peer and uid not in (0, os.geteuid()):
            return sock.close()  # a stranger
        sock.setblocking(False)
        timer = self.loop.later(GREETING_SECONDS, lambda: self.turn_away(sock))
        self.loop.watch(fd, lambda _events: self.greeted(sock, timer), read=True)

    def turn_away(self, sock):
        self.loop.unwatch(sock.fileno())
        sock.close()

    def greeted(self, sock, timer):
        timer.cancel()
        self.loop.unwatch(sock.fileno())
        fds = []
        try:
            kind, fds = keepers.receive_fds(sock, 1, 2)
            if kind == PASSED and len(fds) == 2:
                sock.send(PASSED)
                fd_in, fd_out = fds
            elif kind == HERE and not fds:
                fd_out = os.dup(sock.fileno())
                fd_in, sock = sock.detach(), None
            else:
                raise OSError("no greeting")
        except OSError:
            for fd in fds:
                os.close(fd)
            return sock.close()
        self.connect(fd_in, fd_out, sock)
