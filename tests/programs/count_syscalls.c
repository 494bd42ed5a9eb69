/*
 * count_syscalls LIBRARY PROGRAM [ARGUMENT...]: runs a program with a library preloaded ("" for
 * none), and prints how many system calls it made from its exec on, on all threads. Status 77 where
 * programs may not be traced here.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "program.h"

#define OPTIONS                                                                                    \
    (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define ENTERS       1 /* struct ptrace_syscall_info: PTRACE_SYSCALL_INFO_ENTRY */

static void run(char **argv)
{
    if (argv[1][0])
        setenv("LD_PRELOAD", argv[1], 1);
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(77);
    raise(SIGSTOP);
    execvp(argv[2], argv + 2);
    _exit(127);
}

/* Why a thread has stopped; the signal that it gets when it goes on, or 0. */
static int stopped_for(pid_t thread, int status, unsigned long *calls, int *executed)
{
    unsigned char info[128] = {0};
    int signal = WSTOPSIG(status), event = status >> 16;
    if (event == PTRACE_EVENT_EXEC)
        *executed = 1;
    if (signal == SYSCALL_STOP) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, (void *)sizeof info, info) <= 0 &&
            errno != ESRCH) /* it has just been killed by the end of the process */
            _exit(77);
        *calls += *executed && info[0] == ENTERS;
        return 0;
    }
    return event || signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
}

int main(int argc, char **argv)
{
    unsigned long calls = 0;
    int status, executed = 0;
    MUST(argc > 2);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0)
        run(argv);
    MUST(waitpid(child, &status, 0) == child);
    if (!WIFSTOPPED(status) || ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)OPTIONS) != 0)
        return 77;
    MUST(ptrace(PTRACE_SYSCALL, child, NULL, NULL) == 0);
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        MUST(thread > 0);
        if (WIFSTOPPED(status)) /* and, as above, may be no more */
            ptrace(PTRACE_SYSCALL, thread, NULL,
                   (void *)(long)stopped_for(thread, status, &calls, &executed));
        else if (thread == child)
            break;
    }
    printf("%lu\n", calls);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}
