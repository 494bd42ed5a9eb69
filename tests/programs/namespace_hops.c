/*
 * Allocates, and leaves what only a single-threaded process may leave, every 20 ms, for
 * two seconds; a killed process says afterwards what was counted until then. Before that, it asks
 * for what threads may have by themselves, and says whether the monitor is the same thread as
 * before: "1", if so. Whether the kernel permits any of it does not matter.
 */
#include "program.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>

enum { HOPS = 100, PAUSE_MS = 20 };

/* The number of the thread of that name, 0 where there is none. */
static int thread_of(const char *name)
{
    char path[300], text[32];
    int found = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && !found && (task = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fgets(text, sizeof text, file) && strncmp(text, name, strlen(name)) == 0)
            found = atoi(task->d_name);
        fclose(file);
    }
    if (tasks)
        closedir(tasks);
    return found;
}

static void enter_own(const char *path, int type)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    setns(fd, type);
    setns(fd, 0);
    close(fd);
}

int main(void)
{
    sleep_ms(100);
    int before = thread_of("heaptally");
    enter_own("/proc/self/ns/net", CLONE_NEWNET);
    enter_own("/proc/self/ns/uts", CLONE_NEWUTS);
    enter_own("/proc/self/ns/ipc", CLONE_NEWIPC);
    unshare(CLONE_FILES);
    unshare(CLONE_NEWUTS);
    printf("%d\n", before && before == thread_of("heaptally"));
    fflush(stdout);
    for (int i = 0; i < HOPS; i++) {
        keep_blocks("kept", 10, 100);
        unshare(CLONE_THREAD);
        sleep_ms(PAUSE_MS);
    }
    raise(SIGKILL);
}
