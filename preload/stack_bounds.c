#include "stack_bounds.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The kernel keeps at least this much below the top of the main stack free of other mappings. */
#define MAIN_STACK_CLAIM ((uintptr_t)8 << 20)
#define LEARN_EVERY      UINT64_C(100000000) /* ns */
#define MAX_TRIES        8                   /* then a thread's stack is none that can be found */

extern void *__libc_stack_end; /* of the loader: where the main stack began */

static void publish(struct ht_thread *thread, uintptr_t low, uintptr_t high)
{
    __atomic_store_n(&thread->stack_low, low, __ATOMIC_RELAXED);
    __atomic_store_n(&thread->stack_high, high, __ATOMIC_RELEASE);
}

void ht_stack_bounds_main(struct ht_thread *thread)
{
    if (thread->tid != getpid())
        return;
    thread->thread_pointer = (uintptr_t)__libc_stack_end; /* its control block is elsewhere */
    publish(thread, (uintptr_t)__libc_stack_end - MAIN_STACK_CLAIM, (uintptr_t)__libc_stack_end);
}

/* Gives `low..high` to every thread whose control block lies in it. */
static unsigned match(uintptr_t low, uintptr_t high)
{
    unsigned found = 0;
    for (struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE); thread;
         thread = thread->next) {
        uintptr_t block = thread->thread_pointer;
        if (thread->taken && thread->stack_high != block && block >= low && block < high) {
            publish(thread, low, block);
            found++;
        }
    }
    return found;
}

/* How many threads want bounds, have none, and may have some that can be found; each such look
 * counts, since a stack inside the heap is never found. */
static unsigned count_unknown(void)
{
    unsigned unknown = 0;
    for (struct ht_thread *thread = __atomic_load_n(&ht_threads, __ATOMIC_ACQUIRE); thread;
         thread = thread->next) {
        if (!thread->taken || !thread->wants_bounds ||
            thread->stack_high == thread->thread_pointer || thread->bounds_tries == MAX_TRIES)
            continue;
        thread->bounds_tries++;
        unknown++;
    }
    return unknown;
}

/* One line of /proc/self/maps: "low-high rw-p ...". */
static unsigned take_line(const char *line)
{
    unsigned long low, high;
    char readable, writable;
    if (sscanf(line, "%lx-%lx %c%c", &low, &high, &readable, &writable) != 4 || readable != 'r' ||
        writable != 'w' || strstr(line, "[heap]"))
        return 0;
    return match(low, high);
}

void ht_stack_bounds_learn(uint64_t now_ns)
{
    static uint64_t last;
    /* Who asks in between, and is missed, asks again with each walk. */
    if (!__atomic_load_n(&ht_bounds_wanted, __ATOMIC_RELAXED) || now_ns - last < LEARN_EVERY)
        return;
    __atomic_store_n(&ht_bounds_wanted, 0, __ATOMIC_SEQ_CST);
    unsigned unknown = count_unknown();
    if (!unknown)
        return;
    last = now_ns;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    static char text[8192];
    size_t kept = 0;
    ssize_t n;
    while (fd >= 0 && unknown > 0 && (n = read(fd, text + kept, sizeof text - 1 - kept)) > 0) {
        text[kept + (size_t)n] = '\0';
        char *line = text, *end;
        while ((end = strchr(line, '\n'))) {
            *end = '\0';
            unsigned found = take_line(line);
            unknown -= found < unknown ? found : unknown;
            line = end + 1;
        }
        kept = strlen(line);
        memmove(text, line, kept);
    }
    if (fd >= 0)
        close(fd);
    if (unknown > 0) /* tried again, a few times */
        __atomic_store_n(&ht_bounds_wanted, 1, __ATOMIC_RELAXED);
}
