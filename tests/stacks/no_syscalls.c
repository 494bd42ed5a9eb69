/*
 * A thread that has allocated once gives up all system calls, each of which now kills the process,
 * and then allocates and frees through more than a thousand stacks, most of them new, and through
 * code that has never run before; opens scopes and regions that were never open before, and resizes
 * blocks of other owners in them.
 *
 *   no_syscalls         prints how many blocks were allocated after
 *   no_syscalls prove   makes a system call after, and must die of it
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "heaptally.h"
#include "tree.h"

#define DEPTH     11
#define ROUNDS    40
#define OWN_BYTES (4u << 20) /* of heap that the thread has, before */
#define PIECE     ((size_t)32 << 10)
#define KEPT      64u

static _Atomic bool done;
static _Atomic unsigned long blocks;
static bool prove;

/* The allocator gets memory from the kernel now, and keeps it. */
static void have_memory(void)
{
    static void *pieces[OWN_BYTES / PIECE];
    for (size_t i = 0; i < OWN_BYTES / PIECE; i++) {
        pieces[i] = malloc(PIECE);
        memset(pieces[i], 1, PIECE);
    }
    for (size_t i = 0; i < OWN_BYTES / PIECE; i++)
        free(pieces[i]);
}

static void give_up_system_calls(void)
{
    struct sock_filter kill = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    struct sock_fprog program = {.len = 1, .filter = &kill};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) {
        perror("no_syscalls: seccomp");
        _exit(77);
    }
}

/* Has not run before: what it calls from is unknown to everyone. */
OPAQUE void *fresh(size_t size)
{
    void *p = malloc(size);
    NO_TAIL_CALL();
    return p;
}

static void keep(void *p)
{
    static void *kept[KEPT];
    static unsigned next;
    free(kept[next % KEPT]);
    kept[next++ % KEPT] = p;
    blocks++;
}

/* Blocks of several owners, for strange_owners. */
#define OWNERS 40
static void *owned[OWNERS];

static void have_owners(void)
{
    for (unsigned i = 0; i < OWNERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "owner %u", i);
        uint32_t token = heaptally_v1_enter(heaptally_v1_tag(name));
        owned[i] = malloc(100);
        heaptally_v1_leave(token);
    }
}

/* A block keeps its owner when it is resized in a region: a pair that is new each time. */
static void strange_owners(void)
{
    heaptally_token token = heaptally_no_alloc_begin("step");
    for (unsigned i = 0; i < OWNERS; i++) {
        void *p = realloc(owned[i], 200);
        owned[i] = p;
    }
    heaptally_no_alloc_end(token);
    HEAPTALLY_SCOPE("late owner")
    {
        HEAPTALLY_NO_ALLOC("late region")
        {
            keep(fresh(32));
        }
    }
}

static void *work(void *argument)
{
    free(malloc(100));
    have_memory();
    for (unsigned bits = 0; bits < 16; bits++)
        free(tree_left(bits, DEPTH, 64));
    have_owners();
    give_up_system_calls();
    if (prove)
        syscall(SYS_getppid);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned bits = 0; bits < 1u << DEPTH; bits++)
            keep(tree_left(bits, DEPTH, 16 + bits % 512));
        for (unsigned i = 0; i < 100; i++)
            keep(fresh(32));
        if (round == 0)
            strange_owners();
        for (volatile unsigned i = 0; i < 2000000; i++) /* the monitor gets a turn */
            ;
    }
    done = true;
    for (;;) /* even ending takes system calls */
        __builtin_ia32_pause();
    return argument;
}

int main(int argc, char **argv)
{
    prove = argc > 1 && strcmp(argv[1], "prove") == 0;
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL))
        return 3;
    while (!done)
        usleep(1000);
    printf("%lu\n", blocks);
    return 0;
}
