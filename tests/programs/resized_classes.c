/*
 * Blocks of all sizes, aligned and resized in all ways, on four threads that free each other's. In
 * turns: in each only some sizes are used, and at its end nearly all is freed and memory that holds
 * nothing is given up, so that what lay there is of another size next time. Writes to every byte
 * that it may. Prints how many bytes and blocks it allocated and left in the scope "classes".
 */
#include "program.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define THREADS 4
#define TURNS   12
#define STEPS   6000
#define SLOTS   2048
#define LEFT    4 /* blocks that stay after each turn, of each thread */

/* Whoever takes a block out of its slot may do with it what it likes, and puts it back. */
struct block {
    atomic_flag taken;
    unsigned char *start; /* NULL: none is there */
    size_t size;
};

static struct block slots[SLOTS];
static size_t allocated_bytes, allocated_blocks, freed_bytes, freed_blocks; /* atomically */
static pthread_barrier_t turn_ends;

static uint32_t draw(uint64_t *random, uint32_t below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (uint32_t)(*random >> 32) % below;
}

static void came(size_t size)
{
    __atomic_fetch_add(&allocated_bytes, size, __ATOMIC_RELAXED);
    __atomic_fetch_add(&allocated_blocks, 1, __ATOMIC_RELAXED);
}

static void went(size_t size)
{
    __atomic_fetch_add(&freed_bytes, size, __ATOMIC_RELAXED);
    __atomic_fetch_add(&freed_blocks, 1, __ATOMIC_RELAXED);
}

/* Of a turn's own sizes, most of them small. */
static size_t any_size(uint64_t *random, int turn)
{
    uint32_t kind = draw(random, 1000);
    if (kind == 0)
        return draw(random, 3 << 20);
    if (kind < 20)
        return draw(random, 80000);
    if (kind < 200)
        return draw(random, 6000);
    return (size_t)(16 << turn % 8) + draw(random, 40);
}

/* Also tells whether it is of zeros. */
static unsigned char *any_way(uint64_t *random, size_t *size, bool *zeros)
{
    size_t alignment = (size_t)16 << draw(random, 10);
    void *block = NULL;
    *zeros = false;
    switch (draw(random, 12)) {
    case 0:
        return memalign(alignment, *size);
    case 1:
        *size = (*size + alignment - 1) & ~(alignment - 1);
        return aligned_alloc(alignment, *size);
    case 2:
        MUST(posix_memalign(&block, alignment, *size) == 0);
        return block;
    case 3:
    case 4:
        *zeros = true;
        return calloc(1, *size);
    case 5:
        return realloc(NULL, *size);
    default:
        return malloc(*size);
    }
}

/* Fills it with a byte of its own as far as it may be written to. */
static void fill(const struct block *block)
{
    size_t usable = malloc_usable_size(block->start);
    MUST(usable >= block->size);
    memset(block->start, (int)(block->size % 251), usable);
}

static void check(const struct block *block)
{
    for (size_t i = 0; i < block->size; i += 1 + i / 64)
        MUST(block->start[i] == block->size % 251);
    MUST(block->size == 0 || block->start[block->size - 1] == block->size % 251);
}

static void make(struct block *block, uint64_t *random, int turn)
{
    bool zeros;
    block->size = any_size(random, turn);
    block->start = any_way(random, &block->size, &zeros);
    MUST(block->start != NULL);
    for (size_t i = 0; zeros && i < block->size; i++)
        MUST(block->start[i] == 0);
    came(block->size);
    fill(block);
}

static void resize(struct block *block, uint64_t *random, int turn)
{
    static const int percent[] = {50, 90, 101, 130, 300};
    size_t old = block->size, size = draw(random, 2) ? any_size(random, turn)
                                                     : old * percent[draw(random, 5)] / 100 + 1;
    size += size == 0;
    unsigned char was = old ? block->start[0] : 0;
    unsigned char *start = realloc(block->start, size);
    MUST(start != NULL && (old == 0 || start[0] == was));
    went(old);
    came(size);
    block->start = start;
    block->size = size;
    fill(block);
}

static void drop(struct block *block)
{
    check(block);
    went(block->size);
    free(block->start);
    block->start = NULL;
}

/* One turn of one thread: what becomes of a block, whosever it was, is left to chance. */
static void play(uint64_t *random, int turn)
{
    for (int step = 0; step < STEPS; step++) {
        struct block *block = &slots[draw(random, SLOTS)];
        if (atomic_flag_test_and_set(&block->taken))
            continue;
        if (block->start && draw(random, 2)) {
            resize(block, random, turn);
        } else {
            if (block->start)
                drop(block);
            make(block, random, turn);
        }
        atomic_flag_clear(&block->taken);
    }
}

/* jemalloc's, or NULL. */
static int (*control)(const char *, void *, size_t *, void *, size_t);

/* jemalloc keeps pages for their size for a while. */
static void give_up_memory(void)
{
    if (control) {
        control("thread.tcache.flush", NULL, NULL, NULL, 0); /* where there is one */
        MUST(control("arena.4096.purge", NULL, NULL, NULL, 0) == 0);
    }
    malloc_trim(0);
}

/* Frees what lies in the slots of one thread, but for a few blocks that stay for good. */
static void clear(unsigned thread)
{
    unsigned left = LEFT;
    for (unsigned i = thread; i < SLOTS; i += THREADS) {
        struct block *block = &slots[i];
        if (block->start && left > 0 && block->size < 6000) {
            left--;
            block->start = NULL;
        } else if (block->start) {
            drop(block);
        }
    }
    give_up_memory();
}

static void *run(void *number)
{
    unsigned thread = (unsigned)(uintptr_t)number;
    uint64_t random = 88172645463325252u + thread;
    HEAPTALLY_SCOPE("classes")
    {
        for (int turn = 0; turn < TURNS; turn++) {
            play(&random, turn);
            pthread_barrier_wait(&turn_ends);
            clear(thread);
            pthread_barrier_wait(&turn_ends);
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    *(void **)&control = dlsym(RTLD_DEFAULT, "mallctl");
    malloc_trim(0); /* where glibc's own allocator is used by nobody: two threads whose first call
                       of it this is crash in there */
    MUST(pthread_barrier_init(&turn_ends, NULL, THREADS) == 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
    for (unsigned i = 0; i < THREADS; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
    printf("%zu %zu %zu %zu\n", allocated_bytes, allocated_blocks, allocated_bytes - freed_bytes,
           allocated_blocks - freed_blocks);
    return 0;
}
