"""One thread, one epoll, callbacks, timers. Nothing here may block."""
import select
import time
from heapq import heappop, heappush

READ = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP
WRITE = select.EPOLLOUT
_IN = select.EPOLLIN
_OUT = select.EPOLLOUT


class Timer:
    __slots__ = ("at", "call", "live")

    def __init__(self, at, call):
        self.at, self.call, self.live = at, call, True

    def __lt__(self, other):
        return self.at < other.at

    def cancel(self):
        self.live = False
        self.call = None


class Loop:
    def __init__(self):
        self.epoll = select.epoll()
        self.handlers = {}
        self.timers = []
        self.after = []  # run once at the end of the current turn: flushing connections

    def watch(self, fd, handler, read=False, write=False):
        """handler(events); changes the watch when the fd is watched already. Neither read nor write: no longer watched."""
        mask = (_IN if read else 0) | (_OUT if write else 0)
        if not mask:
            self.unwatch(fd)
        elif fd in self.handlers:
            old = self.handlers[fd]
            self.handlers[fd] = (handler, mask)
            if old[1] != mask:
                self.epoll.modify(fd, mask)
        else:
            self.epoll.register(fd, mask)
            self.handlers[fd] = (handler, mask)

    def unwatch(self, fd):
        if self.handlers.pop(fd, None) is not None:
            try:
                self.epoll.unregister(fd)
            except (OSError, ValueError):
                pass

    def later(self, seconds, call):
        timer = Timer(time.monotonic() + seconds, call)
        heappush(self.timers, timer)
        return timer

    def run(self):
        timers, handlers, poll = self.timers, self.handlers, self.epoll.poll
        while True:
            while timers and not timers[0].live:
                heappop(timers)
            wait = -1 if not timers else max(0.0, timers[0].at - time.monotonic())
            for fd, events in poll(wait):
                entry = handlers.get(fd)
                if entry is not None:
                    entry[0](events)
            if timers:
                now = time.monotonic()
                while timers and timers[0].at <= now:
                    timer = heappop(timers)
                    if timer.live:
                        timer.live = False
                        timer.call()
            while self.after:
                calls, self.after = self.after, []
                for call in calls:
                    call()
