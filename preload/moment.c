#include "moment.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "heaptally/snapshot_format.h"
#include "raw_io.h"

static uint64_t now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t ht_now_ns(void)
{
    return now(CLOCK_MONOTONIC);
}

uint64_t ht_realtime_ns(void)
{
    return now(CLOCK_REALTIME);
}

uint64_t ht_thread_cpu_ns(void)
{
    return now(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t ht_resident_bytes(void)
{
    char text[128];
    unsigned long long size, resident;
    if (ht_read_file("/proc/thread-self/statm", text, sizeof text) <= 0 ||
        sscanf(text, "%llu %llu", &size, &resident) != 2)
        return HTL_UNKNOWN;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

struct ht_moment ht_moment_now(void)
{
    return (struct ht_moment){ht_now_ns(), ht_realtime_ns(), ht_resident_bytes()};
}
