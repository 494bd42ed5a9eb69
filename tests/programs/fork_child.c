/*
 * fork_child stay|brief|exec|vfork|vexit|daemon: a process with a child.
 *
 *   stay    the child allocates more and lives for many ticks
 *   brief   the child ends at once
 *   exec    the child becomes a shell that ends at once
 *   vfork   the same by vfork
 *   vexit   by vfork, and the child ends by exit(), as it must not but often does
 *   daemon  the process becomes a daemon: the parent ends, the child goes on
 *
 * The child's process id is printed, where there is one that stays.
 */
#include "program.h"

#include <signal.h>
#include <sys/wait.h>

static void wait_for(pid_t child, int status_expected)
{
    int status;
    MUST(child > 0);
    MUST(waitpid(child, &status, 0) == child);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == status_expected);
}

static void child_stays(void)
{
    pid_t child = fork();
    if (child == 0) {
        keep_blocks("child", 300, 10);
        sleep_ms(400);
        exit(21);
    }
    printf("%d\n", (int)child);
    wait_for(child, 21);
}

static void child_brief(void)
{
    pid_t child = fork();
    if (child == 0) {
        keep_blocks("child", 300, 10);
        exit(22);
    }
    wait_for(child, 22);
}

static void child_execs(void)
{
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exit 23", (char *)NULL);
        _exit(1);
    }
    wait_for(child, 23);
}

static void child_vforks(void)
{
    pid_t child = vfork();
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", "exit 24", (char *)NULL);
        _exit(1);
    }
    wait_for(child, 24);
}

/* Then many ticks; the parent's own exit() has nothing left to call, so it ends by a signal. */
static void child_vforks_and_exits(void)
{
    pid_t child = vfork();
    if (child == 0)
        exit(25);
    wait_for(child, 25);
    keep_blocks("kept", 500, 100);
    sleep_ms(400);
    raise(SIGKILL);
}

static void becomes_daemon(void)
{
    MUST(daemon(0, 1) == 0);
    printf("%d\n", (int)getpid());
    fflush(stdout);
    keep_blocks("child", 300, 10);
    sleep_ms(400);
}

static const struct {
    const char *name;
    void (*run)(void);
} ways[] = {
    {"stay", child_stays},
    {"brief", child_brief},
    {"exec", child_execs},
    {"vfork", child_vforks},
    {"vexit", child_vforks_and_exits},
    {"daemon", becomes_daemon},
};

int main(int argc, char **argv)
{
    MUST(argc == 2);
    keep_blocks("kept", 1000, 100);
    sleep_ms(150);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(argv[1], ways[i].name) == 0) {
            ways[i].run();
            keep_blocks("kept", 500, 100);
            return 0;
        }
    }
    return 2;
}
