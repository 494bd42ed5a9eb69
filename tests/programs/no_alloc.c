/*
 * Regions without allocations, each broken a known number of times; which ones, by argument:
 *
 *   counts    one region in and around scopes, by each kind of call; figures at the end are printed
 *   slowly    breaks a region from two places, 100 times each, at a pace at which stacks are learnt
 *   late      breaks one region a single time, after a while in which all was well
 *   threads   8 threads break the same region, 1,000 times each
 *   signal    a handler allocates while the thread is in the region, and while it is not
 *   killed    breaks one region 10 times, waits for some ticks, and is killed
 *   kept      a region in which nothing is allocated
 */
#include "program.h"

#include <pthread.h>
#include <signal.h>

#define NOINLINE __attribute__((noinline))

static NOINLINE void log_line(size_t size)
{
    void *block = malloc(size); /* the sink is shared by threads */
    MUST((program_sink = block) != NULL);
    free(block);
}

static NOINLINE void compute(int times, size_t size)
{
    for (int i = 0; i < times; i++)
        log_line(size);
}

/* Region "step": 10 × 100 bytes of no explicit tag, 20 × 50 of pid. Region "inner": 5 × 10 of pid.
 * What is exempt or outside is in no region. */
static NOINLINE void nest(void)
{
    HEAPTALLY_NO_ALLOC("step")
    {
        compute(10, 100);
        HEAPTALLY_SCOPE("pid")
        {
            compute(12, 50);
            HEAPTALLY_NO_ALLOC("inner")
            {
                compute(5, 10);
            }
            HEAPTALLY_NO_ALLOC(NULL)
            {
                compute(7, 30);
            }
        }
    }
    HEAPTALLY_SCOPE("pid")
    {
        compute(3, 20);
        HEAPTALLY_NO_ALLOC("step")
        {
            compute(8, 50);
        }
        compute(3, 20);
    }
    compute(9, 1);
}

/* Region "grow": 3 times, of 2000, 3000 and 40 bytes; the block stays its controller's. */
static NOINLINE void grow(void)
{
    char *block = NULL;
    HEAPTALLY_SCOPE("history")
    {
        MUST((block = malloc(1000)) != NULL);
    }
    MUST((block = realloc(block, 1500)) != NULL);
    HEAPTALLY_NO_ALLOC("grow")
    {
        MUST((block = realloc(block, 2000)) != NULL);
        HEAPTALLY_SCOPE("other")
        {
            MUST((block = realloc(block, 3000)) != NULL);
        }
        MUST((block = realloc(block, 40)) != NULL);
    }
    MUST((block = realloc(block, 70)) != NULL); /* in no region any more */
    program_sink = block;
}

/* Region "calls": 6 times, 64 bytes each. */
static NOINLINE void each_call(void)
{
    void *blocks[6];
    heaptally_token token = heaptally_no_alloc_begin("calls");
    blocks[0] = malloc(64);
    blocks[1] = calloc(4, 16);
    blocks[2] = realloc(NULL, 64);
    blocks[3] = aligned_alloc(64, 64);
    MUST(posix_memalign(&blocks[4], 64, 64) == 0);
    blocks[5] = reallocarray(NULL, 8, 8);
    for (int i = 0; i < 6; i++)
        free(blocks[i]);
    heaptally_no_alloc_end(token);
    log_line(64);
}

/* A block allocated in the region and adopted afterwards breaks it once, not twice. Region
 * "adopted": once, 200 bytes. */
static NOINLINE void adopt(void)
{
    void *block = NULL;
    HEAPTALLY_NO_ALLOC("adopted")
    {
        MUST((block = malloc(200)) != NULL);
        heaptally_track_instantiation("adopter", block);
    }
    program_sink = block;
}

static NOINLINE void step_once(void)
{
    HEAPTALLY_NO_ALLOC("slow")
    {
        log_line(16);
        compute(1, 8);
    }
}

static NOINLINE void slowly(void)
{
    for (int i = 0; i < 100; i++) {
        step_once();
        sleep_ms(2);
    }
}

static NOINLINE void late(void)
{
    log_line(1);
    sleep_ms(200);
    HEAPTALLY_NO_ALLOC("late")
    {
        compute(1, 56);
    }
    sleep_ms(100);
}

static void *break_often(void *unused)
{
    for (int i = 0; i < 1000; i++) {
        HEAPTALLY_NO_ALLOC("shared")
        {
            HEAPTALLY_SCOPE("worker")
            {
                log_line(16);
            }
        }
        log_line(16);
    }
    return unused;
}

static void threads(void)
{
    pthread_t thread[8];
    for (int i = 0; i < 8; i++)
        MUST(pthread_create(&thread[i], NULL, break_often, NULL) == 0);
    for (int i = 0; i < 8; i++)
        pthread_join(thread[i], NULL);
}

static void on_signal(int number)
{
    (void)number;
    log_line(24);
}

static void signals(void)
{
    signal(SIGUSR1, on_signal);
    for (int i = 0; i < 50; i++) {
        HEAPTALLY_NO_ALLOC("struck")
        {
            raise(SIGUSR1);
        }
        raise(SIGUSR1);
    }
}

static void killed(void)
{
    HEAPTALLY_NO_ALLOC("killed")
    {
        compute(10, 32);
    }
    sleep_ms(300);
    raise(SIGKILL);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "counts") == 0) {
        nest();
        grow();
        each_call();
        adopt();
    } else if (strcmp(what, "slowly") == 0) {
        slowly();
    } else if (strcmp(what, "late") == 0) {
        late();
    } else if (strcmp(what, "threads") == 0) {
        threads();
    } else if (strcmp(what, "signal") == 0) {
        signals();
    } else if (strcmp(what, "killed") == 0) {
        killed();
    } else {
        HEAPTALLY_NO_ALLOC("kept")
        {
            program_sink = NULL;
        }
        log_line(10);
    }
    return 0;
}
