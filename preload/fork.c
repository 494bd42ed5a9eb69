#include "fork.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "heaptally/units.h"
#include "internal_heap.h"
#include "lifecycle.h"
#include "module_map.h"
#include "monitor.h"
#include "thread_state.h"

#define PARK_WAIT HT_SECOND

static uint32_t *mark; /* on a page that is wiped in children; 1 in the process that set it */
static bool parked;

static void before(void)
{
    parked = ht_monitor_park(PARK_WAIT);
    if (!parked)
        return;
    ht_modules_lock();
    ht_heap_lock();
}

static void unlock(void)
{
    if (!parked)
        return;
    ht_heap_unlock();
    ht_modules_unlock();
}

static void in_parent(void)
{
    unlock();
    if (parked)
        ht_monitor_unpark();
}

static void in_child(void)
{
    unlock();
    if (mark)
        *mark = 1;
    if (parked)
        ht_thread_after_fork();
    ht_lifecycle_after_fork(parked);
}

int ht_fork_setup(void)
{
    mark = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mark != MAP_FAILED && madvise(mark, 4096, MADV_WIPEONFORK) == 0)
        *mark = 1;
    else
        mark = NULL;
    return -pthread_atfork(before, in_parent, in_child);
}

bool ht_fork_happened(void)
{
    return mark && *mark == 0;
}
