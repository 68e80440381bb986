"""A process's clock, set forward and back while it runs, as an operator or NTP sets a machine's.

Its calls to the system go through a small library: Python's and librdkafka's alike, and waits
until a time end as the kernel ends them, by the clock as it is set. Monotonic time stays.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = r"""#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 20000000

static volatile int64_t none;
static volatile int64_t *shift_ns = &none;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("CLOCK_SHIFT_FILE");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) shift_ns = at;
}
static int real(clockid_t id, struct timespec *t) { return syscall(SYS_clock_gettime, id, t); }
static void add(struct timespec *t, int64_t ns)
{
    int64_t all = t->tv_sec * 1000000000LL + t->tv_nsec + ns;
    t->tv_sec = all / 1000000000LL; t->tv_nsec = all % 1000000000LL;
}
int clock_gettime(clockid_t id, struct timespec *t)
{
    int r = real(id, t);
    if (!r && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) add(t, *shift_ns);
    return r;
}
int gettimeofday(struct timeval *restrict v, void *restrict z)
{
    struct timespec t; (void)z;
    clock_gettime(CLOCK_REALTIME, &t);
    v->tv_sec = t.tv_sec; v->tv_usec = t.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *p)
{
    struct timespec t; clock_gettime(CLOCK_REALTIME, &t); if (p) *p = t.tv_sec; return t.tv_sec;
}
int timespec_get(struct timespec *t, int base)
{
    if (base != TIME_UTC) return 0;
    clock_gettime(CLOCK_REALTIME, t); return base;
}
/* As the kernel does it: until this process's clock has come to a time, however it is set. `wait`
 * waits until the machine's clock has. */
#define WAIT_UNTIL(wait, timed_out)                                                              \
    for (;;) {                                                                                   \
        struct timespec now, slice;                                                              \
        clock_gettime(CLOCK_REALTIME, &now);                                                     \
        int64_t left = (until->tv_sec - now.tv_sec) * 1000000000LL + until->tv_nsec - now.tv_nsec; \
        if (left <= 0) return timed_out;                                                         \
        real(CLOCK_REALTIME, &slice);                                                            \
        add(&slice, left < SLICE_NS ? left : SLICE_NS);                                          \
        int result = wait;                                                                       \
        if (result != timed_out) return result;                                                  \
    }
int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
    static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!next) next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    /* a time so small is of the monotonic clock, by which Python's own conditions wait */
    if (until->tv_sec < 500000000) return next(c, m, until);
    WAIT_UNTIL(next(c, m, &slice), ETIMEDOUT)
}
int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    if (!next) next = dlsym(RTLD_NEXT, "cnd_timedwait");
    WAIT_UNTIL(next(c, m, &slice), thrd_timedout)
}
"""


class ShiftedClock:
    """The clock of one process; it is right at first.

    Args:
        directory: for the library and the file that both sides have mapped.
        name: of the process.
    """

    def __init__(self, directory: Path, name: str) -> None:
        compiler = shutil.which("cc")
        if compiler is None or sys.platform != "linux":
            pytest.skip("needs Linux and a C compiler")
        library = directory / "shifted_clock.so"
        if not library.exists():
            options = ["-O2", "-shared", "-fPIC", "-o", library, "-x", "c", "-", "-ldl"]
            subprocess.run([compiler, *options], input=_SOURCE, text=True, check=True)
        self._file = directory / f"{name}.clock"
        self._file.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(self._file)}

    def set_to(self, seconds_ahead: float) -> None:
        """Set it to so many seconds ahead of the machine's; less than 0 is behind."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", round(seconds_ahead * 1e9)))
