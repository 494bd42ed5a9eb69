/*
 * Two threads that each allocate in every way, over and over from the same places, after rests in
 * which heaptally has learnt of these. What comes between measuring_begins and measuring_ends
 * should find nothing that is new. Prints how many blocks that were, and how many bytes and blocks
 * it allocated and left in the scope "ways".
 *
 * short_way confined     before that, has the kernel look at its system calls, and allow all
 * short_way no_threads   no thread can be made but its own
 */
#include "program.h"

#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/prctl.h>

#define BURSTS 8
#define BURST  200
#define ROUNDS 2000

static pthread_barrier_t at_ease;
static size_t allocated_bytes, allocated_blocks, left_bytes, left_blocks; /* atomically */

static bool refuses;
static void *run(void *first);

/* Stands before libc's. */
__attribute__((visibility("default"))) int pthread_create(pthread_t *thread,
                                                          const pthread_attr_t *attributes,
                                                          void *(*function)(void *), void *argument)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return refuses && function != run ? EAGAIN : real(thread, attributes, function, argument);
}

static void confine(void)
{
    struct sock_filter filter[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

__attribute__((noinline)) static void measuring_begins(void)
{
    __asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void measuring_ends(void)
{
    __asm__ volatile("" ::: "memory");
}

static void count(size_t *bytes, size_t *blocks, size_t size)
{
    __atomic_fetch_add(bytes, size, __ATOMIC_RELAXED);
    __atomic_fetch_add(blocks, 1, __ATOMIC_RELAXED);
}

/* Frees the block, or leaves it: one of a hundred. */
static void done_with(void *block, size_t size, int round)
{
    MUST(block != NULL && malloc_usable_size(block) >= size);
    memset(block, 0xa5, malloc_usable_size(block));
    count(&allocated_bytes, &allocated_blocks, size);
    if (round % 100 == 0) {
        program_sink = block;
        count(&left_bytes, &left_blocks, size);
    } else {
        free(block);
    }
}

static void *any_aligned(size_t size)
{
    void *block = NULL;
    MUST(posix_memalign(&block, 64, size) == 0);
    return block;
}

__attribute__((noinline)) static void all_ways(int rounds)
{
    HEAPTALLY_SCOPE("ways")
    {
        for (int round = 0; round < rounds; round++) {
            size_t size = (size_t)round * 37 % 3000;
            done_with(malloc(size), size, round);
            done_with(calloc(1, size), size, round);
            done_with(memalign(128, size), size, round);
            done_with(aligned_alloc(32, size & ~(size_t)31), size & ~(size_t)31, round);
            done_with(any_aligned(size), size, round);
            void *block = realloc(malloc(size / 2), size + 1); /* grows in place, or moves */
            count(&allocated_bytes, &allocated_blocks, size / 2);
            done_with(block, size + 1, round);
        }
    }
}

static void *run(void *first)
{
    for (volatile int bursts = BURSTS; bursts >= 0; bursts--) { /* volatile: one call, no copy */
        if (bursts == 0) {
            pthread_barrier_wait(&at_ease);
            if (first)
                measuring_begins();
            pthread_barrier_wait(&at_ease);
        }
        all_ways(bursts > 0 ? BURST : ROUNDS);
        if (bursts > 0) {
            sleep_ms(30);
            heaptally_snapshot();
        }
    }
    pthread_barrier_wait(&at_ease);
    if (first)
        measuring_ends();
    pthread_barrier_wait(&at_ease);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t other;
    const char *how = argc > 1 ? argv[1] : "";
    if (strcmp(how, "confined") == 0)
        confine();
    refuses = strcmp(how, "no_threads") == 0;
    MUST(pthread_barrier_init(&at_ease, NULL, 2) == 0);
    MUST(pthread_create(&other, NULL, run, NULL) == 0);
    run(program_sink = &other);
    MUST(pthread_join(other, NULL) == 0);
    printf("%d %zu %zu %zu %zu\n", 2 * 7 * ROUNDS, allocated_bytes, allocated_blocks, left_bytes,
           left_blocks);
    return 0;
}
