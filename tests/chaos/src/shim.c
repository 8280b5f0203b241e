/* Put in front of the C library of a node (LD_PRELOAD). Each knob is a file of two 64-bit integers below the directory that
   TROUPE_TEST_KNOBS names: what is asked for, and how often it came to something. Mapped once, read at each call.

   sync_ms    each sync first waits so many milliseconds
   clock_ms   the wall clock is so many milliseconds ahead; the monotonic clocks are left alone */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct knob {
    int64_t value;
    int64_t count;
};

static struct knob *sync_ms, *clock_ms;

static struct knob *map(const char *name)
{
    const char *dir = getenv("TROUPE_TEST_KNOBS");
    char path[4096];
    void *at;
    int fd;
    if (!dir || snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return NULL;
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    at = mmap(NULL, sizeof(struct knob), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

__attribute__((constructor)) static void begin(void)
{
    sync_ms = map("sync_ms");
    clock_ms = map("clock_ms");
}

/* What a knob asks for, counted. */
static int64_t asked(struct knob *knob)
{
    int64_t value = knob ? __atomic_load_n(&knob->value, __ATOMIC_RELAXED) : 0;
    if (value)
        __atomic_fetch_add(&knob->count, 1, __ATOMIC_RELAXED);
    return value;
}

int fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    usleep((useconds_t)asked(sync_ms) * 1000);
    return next(fd);
}

int fsync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    usleep((useconds_t)asked(sync_ms) * 1000);
    return next(fd);
}

static void shift(int64_t *seconds, int64_t *nanos)
{
    int64_t millis = asked(clock_ms);
    *seconds += millis / 1000;
    *nanos += millis % 1000 * 1000000;
    if (*nanos >= 1000000000) {
        *nanos -= 1000000000;
        *seconds += 1;
    } else if (*nanos < 0) {
        *nanos += 1000000000;
        *seconds -= 1;
    }
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    /* Asked for very often. */
    static int (*next)(clockid_t, struct timespec *);
    int64_t seconds, nanos;
    int result;
    if (!next)
        next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    result = next(clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        seconds = at->tv_sec;
        nanos = at->tv_nsec;
        shift(&seconds, &nanos);
        at->tv_sec = seconds;
        at->tv_nsec = nanos;
    }
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    (void)zone;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return result;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
