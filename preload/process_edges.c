/*
 * Calls of the program that change what the monitor stands on: unloading a module, and leaving a
 * namespace of those that the kernel lets single-threaded processes leave only. And one that
 * changes what threads rely upon: making memory unreadable, which may be of a stack. And one after
 * which a thread, or all, may make few system calls or none (seccomp): what they were to do for us
 * is given up. Programs make that one by prctl or, as libseccomp does, by syscall.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "arch.h"
#include "callback.h"
#include "fork.h"
#include "lifecycle.h"
#include "module_map.h"
#include "monitor.h"
#include "thread_state.h"
#include "track.h"

#define EXPORT    __attribute__((visibility("default")))
#define FRAMELESS __attribute__((naked, no_sanitize("address", "thread", "undefined")))
#define FROM_ASM  __attribute__((used)) HT_HIDDEN

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

/* What the kernel lets only a thread leave that is alone in its process. All else a thread leaves
 * by itself; a monitor that was sent away for it might not come back, for who has left a pid
 * namespace can start no thread. */
#define UNSHARED_ALONE (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)

/* And what only such a thread may enter, or one that shares its root directory with nobody. */
#define ENTERED_ALONE (CLONE_NEWUSER | CLONE_NEWTIME | CLONE_NEWNS)

/* Whether setns(2) of `fd` may need the process to be single-threaded. */
static bool enters_alone(int fd, int type)
{
    struct statfs system;
    int error = errno;
    if (type == 0) { /* the caller leaves it to the file; -1, and so all, where that does not say */
        if (fstatfs(fd, &system) == 0 && system.f_type == NSFS_MAGIC)
            type = ioctl(fd, NS_GET_NSTYPE);
        errno = error;
    }
    return type & ENTERED_ALONE;
}

EXPORT int unshare(int flags)
{
    bool paused = (flags & UNSHARED_ALONE) && pause_threads();
    int result = (int)syscall(SYS_unshare, flags), error = errno;
    if (paused)
        resume_threads();
    errno = error;
    return result;
}

EXPORT int setns(int fd, int type)
{
    bool paused = enters_alone(fd, type) && pause_threads();
    int result = (int)syscall(SYS_setns, fd, type), error = errno;
    if (paused)
        resume_threads();
    errno = error;
    return result;
}

#define PAGE ((uintptr_t)4096)

/*
 * Handlers of signals call it too, so it must not look up the next one in the chain. munmap is not
 * asked about: an area between a thread's frames may be unreadable while its frame lives, but who
 * takes it away leaves a hole into which later frames grow.
 */
EXPORT int mprotect(void *start, size_t bytes, int how)
{
    uintptr_t low = (uintptr_t)start, high = (low + bytes + PAGE - 1) / PAGE * PAGE;
    bool refused = low % PAGE || bytes > UINTPTR_MAX - PAGE || high <= low; /* by the kernel */
    if (!refused && !(how & (PROT_READ | PROT_WRITE)))
        ht_threads_lose(low, high);
    long result = syscall(SYS_mprotect, start, bytes, how);
    /* No tail call: libc reads a sixth argument from the frame of the caller, which is then ours.
     * The program's may end right below the page that it makes readable. */
    __asm__ volatile("" : "+r"(result));
    return (int)result;
}

/* Arguments beyond those that the option has are what was in their place, as in libc. */
EXPORT int prctl(int option, ...)
{
    unsigned long values[4];
    va_list more;
    va_start(more, option);
    for (unsigned i = 0; i < 4; i++)
        values[i] = va_arg(more, unsigned long);
    va_end(more);
    bool ours = option == PR_SET_SECCOMP && !ht_in_copied_process(); /* no call may be left after */
    long result = syscall(SYS_prctl, option, values[0], values[1], values[2], values[3]);
    __asm__ volatile("" : "+r"(result)); /* no tail call, as above */
    if (ours && result == 0)
        ht_lifecycle_confined();
    return (int)result;
}

FROM_ASM long ht_syscall_failed(long minus_errno);
long ht_syscall_failed(long minus_errno)
{
    errno = (int)-minus_errno;
    return -1;
}

/* Others of its operations only ask; so does one without a filter. */
static bool confines(unsigned operation, const void *filter)
{
    return operation == SECCOMP_SET_MODE_STRICT ||
           (operation == SECCOMP_SET_MODE_FILTER && filter != NULL);
}

FROM_ASM long ht_syscall_seccomp(long number, unsigned operation, unsigned long flags,
                                 const void *filter);
long ht_syscall_seccomp(long number, unsigned operation, unsigned long flags, const void *filter)
{
    bool ours = confines(operation, filter) && !ht_in_copied_process();
    bool all = ours && operation == SECCOMP_SET_MODE_FILTER && (flags & SECCOMP_FILTER_FLAG_TSYNC);
    if (all)
        ht_lifecycle_confines_all();
    long result = ht_system_call(number, operation, flags, filter);
    if (ours && !all && result >= 0)
        ht_lifecycle_confined();
    return result < 0 ? ht_syscall_failed(result) : result;
}

EXPORT FRAMELESS long syscall(__attribute__((unused)) long number, ...)
{
    HT_SYSCALL_BUT(__NR_seccomp, ht_syscall_seccomp, ht_syscall_failed);
}
