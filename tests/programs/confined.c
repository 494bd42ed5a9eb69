/*
 * confined: lets the kernel kill it for every system call but those of an allocator, of sleeping
 * and of its end; goes on for some ticks, allocates, and ends by exit. What it keeps is in the
 * scope "confined".
 *
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

static void confine(void)
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
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void probe(void)
{
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == -1 && errno == EFAULT);
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
    bool probes = argc > 1 && strcmp(argv[1], "probe") == 0;
    HEAPTALLY_SCOPE("confined")
    {
        program_sink = malloc(1000);
    }
    sleep_ms(60);
    if (probes)
        probe();
    else
        confine();
    if (argc > 1 && strcmp(argv[1], "fork") == 0)
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
