/*
 * Runs until SIGTERM and builds a controller every millisecond: "classical" keeps 1000 bytes of
 * each, "sta" nothing. Says "ready" when it has built the first, and at the end "done" with how
 * many controllers it built.
 *
 *   fork     besides, forks a child every 5 ms that ends at once
 *   child    runs twice, as parent and child
 *   brief    ends after a tenth of a second
 *   SIGUSR1  closes all descriptors from 3 on, as daemons do, and opens the file VICTIM in their
 *            place
 */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fcntl.h>

#include "program.h"

enum { MANY_DESCRIPTORS = 900 };

static volatile sig_atomic_t ended, closing;

static void on_signal(int number)
{
    if (number == SIGTERM)
        ended = 1;
    else
        closing = 1;
}

static __attribute__((noinline)) void keep(void)
{
    MUST((program_sink = malloc(1000)) != NULL);
}

static void build(void)
{
    HEAPTALLY_CONSTRUCT("classical")
    {
        keep();
    }
    HEAPTALLY_CONSTRUCT("sta")
    {
        MUST((program_sink = malloc(500)) != NULL);
        free(program_sink);
    }
}

static void close_and_reuse(void)
{
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    for (int i = 0; i < MANY_DESCRIPTORS; i++)
        open(getenv("VICTIM"), O_RDWR);
    closing = 0;
}

static void fork_briefly(void)
{
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0)
        _exit(0);
    MUST(waitpid(child, NULL, 0) == child);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    const char *mode = argc > 1 ? argv[1] : "";
    pid_t child = 0;
    long built = 1;
    alarm(180);
    MUST(sigaction(SIGTERM, &action, NULL) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    if (strcmp(mode, "child") == 0)
        MUST((child = fork()) >= 0);
    build();
    if (child || strcmp(mode, "child") != 0) {
        puts("ready");
        fflush(stdout);
    }
    for (; !ended && !(strcmp(mode, "brief") == 0 && built == 100); built++) {
        build();
        sleep_ms(1);
        if (closing)
            close_and_reuse();
        if (strcmp(mode, "fork") == 0 && built % 5 == 0)
            fork_briefly();
    }
    if (child) {
        kill(child, SIGTERM);
        waitpid(child, NULL, 0);
    }
    if (child || strcmp(mode, "child") != 0)
        printf("done %ld\n", built);
    return 0;
}
