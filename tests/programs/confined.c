/*
 * confined: lets the kernel kill it for every system call but those of an allocator, of sleeping
 * and of its end; goes on for some ticks, allocates, and ends by exit. What it keeps is in the
 * scope "confined".
 *
 * confined syscall does so by the system call, not by prctl
 * confined all     the same, and the filter is to be for all threads
 * confined fork    does so in a child that it forks then, which may do no more
 * confined probe   only asks the kernel, as programs do, whether it knows such filters, also in a
 *                  child that has its memory: that confines nobody
 */
#include "program.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ALLOW(call)                                                                                \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void confine(const char *how)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_brk),
        ALLOW(SYS_mmap),
        ALLOW(SYS_munmap),
        ALLOW(SYS_nanosleep),
        ALLOW(SYS_clock_nanosleep),
        ALLOW(SYS_exit_group),
        /* What fork, closing what the child does not need, and waiting for it are made of. */
        ALLOW(SYS_clone),
        ALLOW(SYS_set_robust_list),
        ALLOW(SYS_rt_sigprocmask),
        ALLOW(SYS_getpid),
        ALLOW(SYS_newfstatat),
        ALLOW(SYS_fstat),
        ALLOW(SYS_close),
        ALLOW(SYS_wait4),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (strcmp(how, "syscall") == 0)
        MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
    else if (strcmp(how, "all") == 0)
        MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) ==
             0);
    else
        MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void probe(void)
{
    unsigned action = SECCOMP_RET_KILL_PROCESS;
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT);
    MUST(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0);
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, NULL) == -1 &&
         errno == EFAULT); /* as libseccomp asks */
    pid_t child = vfork();
    if (child == 0) {
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        syscall(SYS_exit, 0);
    }
    MUST(child > 0 && waitpid(child, NULL, 0) == child);
}

/* Goes on in a child alone. */
static void forks(void)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        return;
    MUST(child > 0 && wait4(child, &status, 0, NULL) == child);
    _exit(status != 0);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    HEAPTALLY_SCOPE("confined")
    {
        program_sink = malloc(1000);
    }
    sleep_ms(60);
    if (strcmp(how, "probe") == 0)
        probe();
    else
        confine(how);
    if (strcmp(how, "fork") == 0)
        forks();
    sleep_ms(100);
    HEAPTALLY_SCOPE("confined")
    {
        for (int i = 0; i < 100; i++)
            program_sink = malloc(1000);
    }
    sleep_ms(100);
    exit(0);
}
