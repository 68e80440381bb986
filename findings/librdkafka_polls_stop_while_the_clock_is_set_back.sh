#!/usr/bin/env bash
# confluent-kafka 2.16.0 (its wheel's librdkafka 2.16, glibc): a consumer that polls for 0.2 s at a time while the time
# of day is set back by an hour, as an operator, NTP or a resumed virtual machine sets it.
# Expected: each poll returns after 0.2 s, as Java's consumer's does, which waits by the monotonic clock.
# Seen: the poll that is under way does not return for an hour, unless a message comes: librdkafka waits until a
# time of day (cnd_timedwait). Its own threads wait so too: no heartbeat is sent, and after the session timeout
# the group gives the partitions to others. Polls with a timeout of 0 return.
# The clock is set for the one process: a library before libc moves it, and ends its waits as the kernel does.
# Needs Linux with glibc, a C compiler and Python 3.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat > "$work/clock.c" <<'C'
#define _GNU_SOURCE
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
C
cc -O2 -shared -fPIC -o "$work/clock.so" "$work/clock.c" -ldl
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check confluent-kafka==2.16.0
head -c 8 /dev/zero > "$work/shift"
CLOCK_SHIFT_FILE="$work/shift" LD_PRELOAD="$work/clock.so" timeout 60 "$work/venv/bin/python" - "$work/shift" <<'PY'
import os, struct, sys, threading, time
from confluent_kafka import Consumer

polls = {0.2: 0, 0: 0}


def poll(seconds):
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
    while True:
        consumer.poll(seconds)
        polls[seconds] += 1
        time.sleep(0.2 - seconds)


def counted(seconds):
    before = dict(polls)
    time.sleep(seconds)
    return {each: polls[each] - before[each] for each in polls}


for seconds in polls:
    threading.Thread(target=poll, args=(seconds,), daemon=True).start()
time.sleep(2)
usual = counted(4)
with open(sys.argv[1], "r+b") as file:
    file.write(struct.pack("q", -3600 * 10**9))
time.sleep(1)
after = counted(4)
print("polls in 4 s, by their timeout:", usual, "and after the clock was set back by an hour:", after, flush=True)
# the consumers' threads wait for an hour: nothing is closed
os._exit(0 if usual[0.2] > 10 and usual[0] > 10 and after[0] > 10 and after[0.2] == 0 else 1)
PY
echo "as described"
