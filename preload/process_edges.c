/*
 * Calls of the program that change what the monitor stands on: unloading a module, and leaving a
 * namespace, which the kernel allows to single-threaded processes only.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "callback.h"
#include "fork.h"
#include "lifecycle.h"
#include "module_map.h"
#include "monitor.h"
#include "thread_state.h"
#include "track.h"

#define EXPORT __attribute__((visibility("default")))

/* With signals blocked: a handler that allocates or forks must not find the map's lock held. */
static void tell_module_map(void (*what)(uintptr_t), uintptr_t frame)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct ht_thread *previous = ht_internal_begin();
    what(frame);
    ht_internal_end(previous);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Before: what is loaded gets known, so that it can be named after it is gone, and what may go is
 * in doubt. After: what has gone is closed, its frames die and remembered stacks are void. */
EXPORT int dlclose(void *handle)
{
    static int (*real)(void *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "dlclose");
    if (ht_self->busy == HT_INTERNAL || !ht_boot() || ht_fork_happened() ||
        ht_is_dormant()) /* while it is only stopped, frames die all the same */
        return real(handle);
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    tell_module_map(ht_modules_unload_begins, frame);
    int result = real(handle);
    tell_module_map(ht_modules_unload_ended, frame);
    return result;
}

/* Ends the threads of ours; false where there is nothing to resume. In a copy of the process that
 * shares or has inherited our variables (vfork, _Fork, raw clone) they are not ours to wait for. */
static bool pause_threads(void)
{
    if (ht_in_copied_process())
        return false;
    ht_monitor_pause();
    ht_callback_pause();
    return true;
}

static void resume_threads(void)
{
    ht_callback_resume();
    ht_monitor_resume();
}

EXPORT int unshare(int flags)
{
    bool paused = pause_threads();
    int result = (int)syscall(SYS_unshare, flags), error = errno;
    if (paused)
        resume_threads();
    errno = error;
    return result;
}

EXPORT int setns(int fd, int type)
{
    bool paused = pause_threads();
    int result = (int)syscall(SYS_setns, fd, type), error = errno;
    if (paused)
        resume_threads();
    errno = error;
    return result;
}
