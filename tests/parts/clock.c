/* A wall clock that a test sets, preloaded into one process: TEST_CLOCK names a file with the nanoseconds to add, read at
 * every call. What runs on the monotonic clock is left alone, as a real jump leaves it.
 *
 * A wait for a moment of the wall clock ends when that clock shows the moment, so a jump backwards makes it longer, as
 * it does in the kernel. Built and used by tests/it/parts/clock.rs. */
#define _GNU_SOURCE
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

static const int64_t SECOND = 1000000000, SLICE = 10000000;
static const volatile int64_t *added;

static int64_t read_clock(clockid_t clock) {
    struct timespec now;
    syscall(SYS_clock_gettime, clock, &now);
    int64_t nanos = now.tv_sec * SECOND + now.tv_nsec;
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return nanos;
    if (!added) {
        int file = open(getenv("TEST_CLOCK"), O_RDONLY | O_CLOEXEC);
        added = mmap(NULL, sizeof *added, PROT_READ, MAP_SHARED, file, 0);
        close(file);
    }
    return nanos + *added;
}

static struct timespec moment(int64_t nanos) { return (struct timespec){nanos / SECOND, nanos % SECOND}; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, clock, now);
    *now = moment(read_clock(clock));
    return 0;
}

int timespec_get(struct timespec *now, int base) {
    *now = moment(read_clock(CLOCK_REALTIME));
    return base;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    int64_t nanos = read_clock(CLOCK_REALTIME);
    *now = (struct timeval){nanos / SECOND, nanos % SECOND / 1000};
    return 0;
}

time_t time(time_t *now) {
    time_t seconds = read_clock(CLOCK_REALTIME) / SECOND;
    if (now) *now = seconds;
    return seconds;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    int64_t left;
    while ((left = until->tv_sec * SECOND + until->tv_nsec - read_clock(CLOCK_REALTIME)) > 0) {
        struct timespec slice = moment(read_clock(CLOCK_MONOTONIC) + (left < SLICE ? left : SLICE));
        int ended = pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &slice);
        if (ended != ETIMEDOUT) return ended;
    }
    return ETIMEDOUT;
}

/* C11's names for the same. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    int ended = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
    return ended == 0 ? thrd_success : ended == ETIMEDOUT ? thrd_timedout : thrd_error;
}
