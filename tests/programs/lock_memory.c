/*
 * Locks all its memory, present and future, as a real-time controller does, then allocates, starts
 * a thread, and prints how much is resident and locked, in kB. With --unlocked it only prints.
 */
#include "program.h"

#include <pthread.h>
#include <sys/mman.h>

static void *allocate(void *argument)
{
    keep_blocks("thread", 100, 100);
    return argument;
}

static void print_status(void)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    MUST(status != NULL);
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "VmRSS:", 6) == 0 || strncmp(line, "VmLck:", 6) == 0)
            fputs(line, stdout);
    fclose(status);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc == 1)
        MUST(mlockall(MCL_CURRENT | MCL_FUTURE) == 0);
    keep_blocks("kept", 1000, 100);
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    MUST(pthread_create(&thread, &attributes, allocate, NULL) == 0);
    pthread_join(thread, NULL);
    sleep_ms(300);
    print_status();
    return 0;
}
