/*
 * Waits for the monitor's thread to have done what it was asked, however busy the machine is.
 * Without heaptally there is nothing to wait for.
 */
#ifndef UNTIL_KNOWN_H
#define UNTIL_KNOWN_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads a file of the process without allocating; its length, 0 where it is not there. */
static inline size_t read_small(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, room - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

/* How often the monitor's thread has gone to sleep; -1 where there is none. */
static inline long monitor_turns(void)
{
    static long task;
    char path[64], text[4096];
    /* Threads are numbered upwards, and the monitor is among the first. */
    for (long id = getpid() + 1; !task && id < getpid() + 1000; id++) {
        snprintf(path, sizeof path, "/proc/self/task/%ld/comm", id);
        if (read_small(path, text, sizeof text) && strcmp(text, "heaptally\n") == 0)
            task = id;
    }
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", task);
    read_small(path, text, sizeof text);
    const char *turns = strstr(text, "\nvoluntary_ctxt_switches:");
    return turns ? atol(strchr(turns, ':') + 1) : -1;
}

/* Waits until the monitor has had the time to find out what was asked before: however busy the
 * machine is, it has done its work when it has gone to sleep a few times. */
static inline void until_known(void)
{
    long before = monitor_turns();
    while (before >= 0 && monitor_turns() < before + 15)
        usleep(1000);
}

#endif
