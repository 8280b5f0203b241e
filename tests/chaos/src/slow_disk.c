/* Put in front of the C library of a node (LD_PRELOAD): each sync first waits as many milliseconds as the file says that
   TROUPE_TEST_SLOW_DISK names. No such file: it waits for nothing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_as_told(void)
{
    const char *path = getenv("TROUPE_TEST_SLOW_DISK");
    FILE *file = path ? fopen(path, "r") : NULL;
    unsigned millis = 0;
    if (!file)
        return;
    if (fscanf(file, "%u", &millis) != 1)
        millis = 0;
    fclose(file);
    usleep(millis * 1000);
}

int fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_as_told();
    return next(fd);
}

int fsync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_as_told();
    return next(fd);
}
