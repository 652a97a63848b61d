"""One thread, one epoll, callbacks, timers. Nothing here may block."""
import os
import select
import time

try:  # the C half, which needs no compiling where no byte code is kept
    from _heapq import heapify, heappop, heappush
except ImportError:
    from heapq import heapify, heappop, heappush

READ = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP
WRITE = select.EPOLLOUT
_IN = select.EPOLLIN
_OUT = select.EPOLLOUT


class Timer:
    __slots__ = ("at", "call", "live", "loop")

    def __init__(self, at, call, loop):
        self.at, self.call, self.live, self.loop = at, call, True, loop

    def __lt__(self, other):
        return self.at < other.at

    def cancel(self):
        if self.live:
            self.live = False
            self.call = None
            self.loop.timer_cancelled()


class Loop:
    def __init__(self):
        self.epoll = select.epoll()
        self.handlers = {}
        self.timers = []
        self.cancelled = 0
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
        timer = Timer(time.monotonic() + seconds, call, self)
        heappush(self.timers, timer)
        return timer

    def timer_cancelled(self):
        """Commands with a long deadline that end early must not pile up timers until then."""
        self.cancelled += 1
        if self.cancelled > 256 and self.cancelled > len(self.timers) // 2:
            self.timers[:] = [timer for timer in self.timers if timer.live]
            heapify(self.timers)
            self.cancelled = 0

    def guarded(self, fd, call, *arguments):
        """A fault in the work for one client or command ends that work, never the daemon and all the others with it."""
        try:
            call(*arguments)
        except Exception:
            import traceback

            os.write(2, traceback.format_exc().encode("utf-8", "replace"))
            if fd is not None:
                self.unwatch(fd)

    def run(self):
        timers, handlers, poll = self.timers, self.handlers, self.epoll.poll
        while True:
            while timers and not timers[0].live:
                heappop(timers)
            # the kernel takes 24 days at most
            wait = -1 if not timers else min(3600.0, max(0.0, timers[0].at - time.monotonic()))
            for fd, events in poll(wait):
                entry = handlers.get(fd)
                if entry is not None:
                    self.guarded(fd, entry[0], events)
            if timers:
                now = time.monotonic()
                while timers and timers[0].at <= now:
                    timer = heappop(timers)
                    if timer.live:
                        timer.live = False
                        self.guarded(None, timer.call)
            while self.after:
                calls, self.after = self.after, []
                for call in calls:
                    self.guarded(None, call)
