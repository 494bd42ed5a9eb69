/*
 * A library to preload: one clock jumps by JUMP_SECONDS a second after its first use, as a clock
 * does that is set while a program runs. JUMP_CLOCK is "realtime" or "monotonic".
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static int64_t first;
    struct timespec now;
    const char *name = getenv("JUMP_CLOCK"), *seconds = getenv("JUMP_SECONDS");
    long result = syscall(SYS_clock_gettime, clock, time);
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, none = 0;
    __atomic_compare_exchange_n(&first, &none, ns, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    clockid_t jumps = name && strcmp(name, "monotonic") == 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    if (result == 0 && clock == jumps && seconds && ns - first > 1000000000)
        time->tv_sec += atol(seconds);
    return (int)result;
}
