#include "fork.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "callback.h"
#include "capture_ring.h"
#include "heaptally/units.h"
#include "internal_heap.h"
#include "lifecycle.h"
#include "module_map.h"
#include "monitor.h"
#include "thread_state.h"

#define PARK_WAIT HT_SECOND

static uint32_t *mark;      /* on a page that is wiped in children; 1 in the process that set it */
static pid_t process;       /* where the handlers were registered, or ran in the child */
static pthread_t parked_by; /* whoever holds the gate for a fork, while `parked` */
static bool parked;         /* written by the holder of the gate alone */

/* Two threads may fork at once, and one of them may not get the gate: it must not take the other's
 * for its own. */
static bool parked_here(void)
{
    return __atomic_load_n(&parked, __ATOMIC_ACQUIRE) && pthread_equal(parked_by, pthread_self());
}

static void before(void)
{
    if (ht_is_dormant()) /* then its children are as well, and nothing waits for our locks */
        return;
    /* Other handlers run while the locks are held, and may allocate: this thread's first allocation
     * would take one of them. */
    if (ht_self->busy == HT_UNBORN && ht_boot())
        ht_thread_arrives();
    if (parked_here() || !ht_monitor_park(PARK_WAIT))
        return;
    parked_by = pthread_self();
    __atomic_store_n(&parked, true, __ATOMIC_RELEASE);
    ht_callback_lock_exit();
    ht_modules_lock();
    ht_heap_lock();
}

/* Whether the locks had been taken for this fork. */
static bool unlock(void)
{
    if (!parked_here())
        return false;
    ht_heap_unlock();
    ht_modules_unlock();
    ht_callback_unlock_exit();
    __atomic_store_n(&parked, false, __ATOMIC_RELEASE);
    return true;
}

static void in_parent(void)
{
    if (unlock())
        ht_monitor_unpark();
}

static void in_child(void)
{
    bool safe = unlock();
    parked = false;
    process = getpid();
    if (mark)
        *mark = 1;
    if (safe)
        ht_modules_after_fork();
    if (safe && ht_thread_after_fork() && !ht_self->busy)
        ht_capture_after_fork();
    ht_lifecycle_after_fork(safe);
}

int ht_fork_setup(void)
{
    mark = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mark != MAP_FAILED && madvise(mark, 4096, MADV_WIPEONFORK) == 0)
        *mark = 1;
    else
        mark = NULL;
    process = getpid();
    return -pthread_atfork(before, in_parent, in_child);
}

bool ht_fork_happened(void)
{
    return mark && *mark == 0;
}

bool ht_in_copied_process(void)
{
    return process && process != getpid(); /* before the handlers: nothing of ours runs yet */
}
