/* One thread with all signals blocked, which takes them one by one. */
#include "supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* How signals were before; the child gets them so. */
struct inherited {
    sigset_t mask;
    struct sigaction on_child;
};

/* SIGCHLD must not be ignored: then there would be no status to wait for. */
static void take_signals(struct inherited *before)
{
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before->mask);
    sigaction(SIGCHLD, &normal, &before->on_child);
}

static void give_back_signals(const struct inherited *before)
{
    sigaction(SIGCHLD, &before->on_child, NULL);
    sigprocmask(SIG_SETMASK, &before->mask, NULL);
}

/* A code of 0 or below says that a process sent it. What the kernel sends to a terminal's
 * foreground goes to the whole group. */
static void send_on(pid_t child, const siginfo_t *info)
{
    if (info->si_code == SI_QUEUE)
        sigqueue(child, info->si_signo, info->si_value);
    else if (info->si_code <= 0)
        kill(child, info->si_signo);
}

static void stop_too(pid_t child)
{
    raise(SIGSTOP);
    kill(child, SIGCONT);
}

int ht_supervise(int (*become)(void *argument), void *argument, pid_t *child)
{
    struct inherited before;
    fflush(NULL);
    take_signals(&before);
    *child = fork();
    if (*child == 0) {
        give_back_signals(&before);
        _exit(become(argument));
    }
    if (*child < 0) {
        int error = errno;
        give_back_signals(&before);
        errno = error;
        return -1;
    }
    sigset_t all;
    sigfillset(&all);
    for (;;) {
        siginfo_t info;
        int status;
        if (sigwaitinfo(&all, &info) < 0)
            continue; /* was stopped and woken */
        if (info.si_signo != SIGCHLD) {
            send_on(*child, &info);
            continue;
        }
        /* Several changes of state may have raised one signal. */
        while (waitpid(*child, &status, WNOHANG | WUNTRACED) == *child) {
            if (!WIFSTOPPED(status))
                return status;
            stop_too(*child);
        }
    }
}

_Noreturn void ht_end_like(int status)
{
    fflush(NULL);
    if (!WIFSIGNALED(status))
        exit(WEXITSTATUS(status));
    /* Whoever waits for us is to see the same signal, but the core is the program's. */
    int signal_number = WTERMSIG(status);
    struct rlimit no_core = {0, 0};
    struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t one;
    setrlimit(RLIMIT_CORE, &no_core);
    sigaction(signal_number, &normal, NULL);
    sigemptyset(&one);
    sigaddset(&one, signal_number);
    raise(signal_number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    _exit(128 + signal_number); /* not reached, unless a signal's default is not to end */
}
