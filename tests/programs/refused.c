/*
 * Asks for memory in the scope "asked", a hundred blocks of 100 bytes that are there, and then,
 * for as many milliseconds as are given, as fast as it can, for blocks that are not. At last again
 * for such as are. No two blocks are there at once. Prints how many there were.
 */
#include "program.h"

#include <stdbool.h>
#include <sys/resource.h>

#define HAD     100u
#define REFUSED 50000u

static unsigned long got;

static void ask(size_t size)
{
    void *p = program_sink = malloc(size);
    got += p != NULL;
    free(p);
}

static double now(void)
{
    struct timespec time;
    MUST(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Takes all that is left below a limit of nothing. */
static void run_out(struct rlimit limit)
{
    limit.rlim_cur = 1;
    MUST(setrlimit(RLIMIT_AS, &limit) == 0);
    for (size_t size = REFUSED + 10000; size > REFUSED / 4; size /= 2)
        while ((program_sink = malloc(size)))
            ;
}

/* All are asked for in one place, so that its stack is known when memory runs out. */
int main(int argc, char **argv)
{
    MUST(argc == 2);
    struct rlimit before;
    MUST(getrlimit(RLIMIT_AS, &before) == 0);
    double end = 0;
    for (unsigned turn = 0; turn < 2 * HAD;) {
        if (turn == HAD && end == 0) {
            run_out(before);
            end = now() + atof(argv[1]) * 1e-3;
        } else if (turn == HAD && now() >= end) {
            MUST(setrlimit(RLIMIT_AS, &before) == 0);
            turn++;
        }
        bool refused = turn == HAD;
        HEAPTALLY_SCOPE("asked")
        {
            for (unsigned i = 0; i < (refused ? 50 : 1); i++)
                ask(refused ? REFUSED : HAD);
        }
        if (!refused) {
            sleep_ms(2);
            turn++;
        }
    }
    printf("%lu\n", got);
    return 0;
}
