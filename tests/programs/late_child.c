/*
 * late_child WAY: run as a process that another one started, it lets its first tick pass and
 * allocates then only
 *
 *   vfork     in the child of a vfork, and after that for some ticks
 *   realloc   by making blocks larger that it had before
 *   seldom    eight blocks more, and nothing after that for some ticks
 *
 * What it keeps is in the scope "late". It ends as by a signal, so that no file is written then.
 */
#include "program.h"

#include <sys/wait.h>

#define BLOCKS 200

static void *blocks[BLOCKS];

__attribute__((noinline)) static void keep(size_t size)
{
    HEAPTALLY_SCOPE("late")
    {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = realloc(blocks[i], size);
            MUST(blocks[i] != NULL);
        }
    }
}

static void in_vfork(void)
{
    static char name[] = "true";
    char *const arguments[] = {name, NULL};
    pid_t child = vfork();
    MUST(child >= 0);
    if (child == 0) {
        program_sink = malloc(40);
        execv("/bin/true", arguments);
        _exit(1);
    }
    MUST(waitpid(child, NULL, 0) == child);
}

static void seldom(void)
{
    HEAPTALLY_SCOPE("late")
    {
        for (int i = 0; i < 8; i++) {
            program_sink = malloc(100);
            sleep_ms(20);
        }
    }
    sleep_ms(400);
    _exit(0);
}

int main(int argc, char **argv)
{
    MUST(argc == 2);
    keep(100);
    sleep_ms(300);
    if (strcmp(argv[1], "seldom") == 0)
        seldom();
    if (strcmp(argv[1], "vfork") == 0)
        in_vfork();
    for (size_t size = 200; size <= 1000; size += 100) {
        keep(size);
        sleep_ms(60);
    }
    _exit(0);
}
