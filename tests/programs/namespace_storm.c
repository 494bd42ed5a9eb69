/*
 * Four threads leave what they share with others (unshare, setns) as fast as they can, two more
 * register and drop the callback for alerts, and children are made in every way in between, which
 * do the same. Whether the kernel permits it does not matter. Then the program rests for a moment
 * and says "SNAPSHOT CALLBACK": whether a snapshot can still be had, and a callback registered.
 */
#include "program.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { LEAVERS = 4, LEAVES = 300, SETTERS = 2, CHILDREN = 20 };

static atomic_bool stop;

static void *leave(void *argument)
{
    for (int i = 0; i < LEAVES; i++) {
        int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
        unshare(CLONE_THREAD);
        setns(fd, CLONE_NEWNS);
        close(fd);
    }
    return argument;
}

static void hear(const struct heaptally_alert *alert, void *user)
{
    (void)alert;
    (void)user;
    unshare(CLONE_THREAD);
}

static void *set_callback(void *argument)
{
    for (unsigned i = 0; !stop; i++)
        heaptally_set_alert_callback(i % 2 ? hear : NULL, NULL);
    return argument;
}

static void end_well(pid_t child)
{
    int status;
    MUST(child > 0 && waitpid(child, &status, 0) == child);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void have_children(void)
{
    for (int i = 0; i < CHILDREN; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20);
            unshare(CLONE_THREAD);
            keep_blocks("child", 10, 10);
            exit(0);
        }
        end_well(child);
        child = vfork();
        if (child == 0) {
            unshare(CLONE_THREAD);
            _exit(0);
        }
        end_well(child);
        child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
        if (child == 0) {
            alarm(20);
            unshare(CLONE_THREAD);
            _exit(0);
        }
        end_well(child);
    }
}

int main(void)
{
    pthread_t leavers[LEAVERS], setters[SETTERS];
    alarm(100);
    for (int i = 0; i < SETTERS; i++)
        MUST(pthread_create(&setters[i], NULL, set_callback, NULL) == 0);
    for (int i = 0; i < LEAVERS; i++)
        MUST(pthread_create(&leavers[i], NULL, leave, NULL) == 0);
    have_children();
    for (int i = 0; i < LEAVERS; i++)
        pthread_join(leavers[i], NULL);
    stop = true;
    for (int i = 0; i < SETTERS; i++)
        pthread_join(setters[i], NULL);
    keep_blocks("kept", 1000, 100);
    sleep_ms(300);
    int snapshot = heaptally_snapshot();
    printf("%d %d\n", snapshot, heaptally_set_alert_callback(hear, NULL));
    return 0;
}
