/* Does what its arguments say, one after the other, under the tag "ctl":
 *   +N      allocates a block of N KB and writes to all of it
 *   -       frees all blocks
 *   leakN   forgets one block of N bytes every 2 ms, for a second
 *   sawN    allocates N blocks of 10 KB, one every ms, frees them all, and so on for a second
 *   makeN   constructs N times, forgetting 2048 bytes each
 *   onceN   allocates one block of N KB from one place, in a construction
 *   .N      waits N ms
 *   say     writes "here" and waits for a line on its input */
#include "program.h"

static void *blocks[1000];
static int count;

static void grow(long kb)
{
    MUST(count < 1000);
    HEAPTALLY_SCOPE("ctl")
    {
        MUST((blocks[count] = malloc((size_t)kb * 1024)) != NULL);
    }
    memset(blocks[count++], 1, (size_t)kb * 1024);
}

static void release(void)
{
    while (count > 0)
        free(blocks[--count]);
}

__attribute__((noinline)) static void forget_step(size_t size)
{
    HEAPTALLY_SCOPE("ctl")
    {
        MUST((program_sink = malloc(size)) != NULL);
    }
}

static void leak(size_t size)
{
    for (int i = 0; i < 500; i++) {
        forget_step(size);
        sleep_ms(2);
    }
}

static void saw(long height)
{
    for (int i = 0; i < 1000; i++) {
        if (count >= height)
            release();
        grow(10);
        sleep_ms(1);
    }
    release();
}

static void make(long times)
{
    for (long i = 0; i < times; i++)
        HEAPTALLY_CONSTRUCT("ctl")
        {
            MUST((program_sink = malloc(2048)) != NULL);
        }
}

static void once(long kb)
{
    HEAPTALLY_CONSTRUCT("ctl")
    {
        MUST((program_sink = malloc((size_t)kb * 1024)) != NULL);
    }
}

static void obey(const char *word)
{
    char line[100];
    if (word[0] == '+')
        grow(atol(word + 1));
    else if (word[0] == '-')
        release();
    else if (word[0] == '.')
        sleep_ms(atol(word + 1));
    else if (strncmp(word, "leak", 4) == 0)
        leak((size_t)atol(word + 4));
    else if (strncmp(word, "saw", 3) == 0)
        saw(atol(word + 3));
    else if (strncmp(word, "make", 4) == 0)
        make(atol(word + 4));
    else if (strncmp(word, "once", 4) == 0)
        once(atol(word + 4));
    else if (strcmp(word, "say") == 0)
        MUST(puts("here") >= 0 && fflush(stdout) == 0 && fgets(line, sizeof line, stdin));
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        obey(argv[i]);
    return 0;
}
