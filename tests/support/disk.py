"""A disk that fails as it is told: the spool's calls to the system, on a real directory."""

import errno
import os
from collections import Counter

from connector.kafka.spool_files import SpoolFiles

CALLS = (
    "make_directory",
    "sizes",
    "identity",
    "free_bytes",
    "create",
    "open",
    "write",
    "read",
    "truncate",
    "sync",
    "rename",
    "remove",
    "lock",
)


class Disk(SpoolFiles):
    """Sound until it is told otherwise.

    `broken` has the calls that fail, each with its error; `room` is how many bytes can still be
    written, as on a file system that fills up; `takes_seconds` passes on the clock at each call
    that reads or writes.
    """

    def __init__(self, clock=None):
        self.broken = {}
        self.room = None
        self.takes_seconds = 0.0
        self.clock = clock
        self.calls = Counter()

    def fail(self, *calls, code=errno.EIO):
        self.broken.update(dict.fromkeys(calls, code))

    def fail_all(self, code=errno.EIO):
        self.fail(*CALLS, code=code)

    def mend(self):
        self.broken.clear()
        self.room = None

    def _begin(self, call):
        self.calls[call] += 1
        if call in self.broken:
            code = self.broken[call]
            raise OSError(code, os.strerror(code))

    def write(self, descriptor, data, offset):
        self._begin("write")
        self._pass_time()
        if self.room is not None:
            if self.room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: self.room]
            self.room -= len(data)
        return super().write(descriptor, data, offset)

    def read(self, descriptor, size, offset):
        self._begin("read")
        self._pass_time()
        return super().read(descriptor, size, offset)

    def _pass_time(self):
        if self.clock is not None:
            self.clock.now += self.takes_seconds

    def remove(self, path):
        self._begin("remove")
        if self.room is not None and path.exists():
            self.room += path.stat().st_size
        super().remove(path)

    def truncate(self, descriptor, size):
        self._begin("truncate")
        if self.room is not None:
            self.room += max(0, os.fstat(descriptor).st_size - size)
        super().truncate(descriptor, size)


def _passing(call):
    def method(self, *arguments):
        self._begin(call)
        return getattr(SpoolFiles, call)(self, *arguments)

    method.__name__ = call
    return method


for _call in CALLS:
    if _call not in vars(Disk):
        setattr(Disk, _call, _passing(_call))
