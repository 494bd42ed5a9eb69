/* heaptally's own heap and its output without stdio. */
#include "../../preload/internal_heap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "../../preload/raw_io.h"
#include "support.h"

static bool is_filled(const char *p, char with, size_t size)
{
    return size == 0 || (p[0] == with && memcmp(p, p + 1, size - 1) == 0);
}

START_TEST(aligned_zeroed_and_owned)
{
    static char *blocks[3000];
    uint64_t random = 42;
    for (unsigned i = 0; i < 3000; i++) {
        size_t size = support_random(&random) % (i % 50 ? 3000 : 300000);
        size_t alignment = (size_t)1 << support_random(&random) % 13;
        char *p = blocks[i] = ht_heap_alloc(size, alignment);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % (alignment < 16 ? 16 : alignment), 0);
        ck_assert_uint_ge(ht_heap_usable(p), size);
        ck_assert_uint_eq(((uint64_t *)p)[-1], 0); /* never taken for a sealed block */
        ck_assert(is_filled(p, 0, size));
        memset(p, 0x5a, ht_heap_usable(p));
        ck_assert(ht_heap_owns(p) && ht_heap_owns(p + size / 2));
        if (i % 3 == 0) {
            ht_heap_free(p);
            blocks[i] = NULL;
        }
    }
    int here;
    ck_assert(!ht_heap_owns(&here) && !ht_heap_owns(NULL));
    void *other = malloc(100000);
    ck_assert(!ht_heap_owns(other));
    free(other);
    for (unsigned i = 0; i < 3000; i++)
        ck_assert(!blocks[i] || is_filled(blocks[i], 0x5a, ht_heap_usable(blocks[i])));
}
END_TEST

START_TEST(freed_blocks_are_used_again)
{
    for (unsigned i = 0; i < 1000; i++)
        ht_heap_free(ht_heap_alloc(1000 + i % 10, 16));
    uint64_t before = ht_heap_mapped();
    for (unsigned i = 0; i < 20000; i++) {
        ht_heap_free(ht_heap_alloc(1000 + i % 10, 16));
        ht_heap_free(ht_heap_alloc(200000, 4096));
    }
    ck_assert_uint_eq(ht_heap_mapped(), before);
    ht_heap_free(NULL);
}
END_TEST

/* A block that lasts: like any other, but that it is not taken back. */
static char *make_lasting(size_t size)
{
    char *p = ht_heap_alloc_lasting(size);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p % 64, 0);
    ck_assert_uint_ge(ht_heap_usable(p), size);
    ck_assert_uint_eq(((uint64_t *)p)[-1], 0);
    ck_assert(is_filled(p, 0, size));
    ck_assert(ht_heap_owns(p) && ht_heap_owns(p + size - 1));
    memset(p, 0x5a, ht_heap_usable(p));
    return p;
}

/* Whether huge pages were asked for where an address lies; also where the system has none. */
static bool is_meant_to_be_huge(const char *address)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[1000];
    unsigned long start, end;
    bool here = false, huge = access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0;
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = (unsigned long)address >= start && (unsigned long)address < end;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            huge |= strstr(line, " hg") != NULL;
    }
    fclose(maps);
    return huge;
}

START_TEST(tables_of_much_stand_in_huge_pages)
{
    static const size_t sizes[] = {100, 65536, 3 << 20, 4 << 20, 1000000, 64, 1, 500000, 65536};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    char *blocks[2][COUNT];
    bool known = access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
    for (unsigned much = 0; much < 2; much++) {
        uint64_t before = ht_heap_mapped(), sum = 0;
        if (much)
            ht_heap_expect_much();
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[much][i] = make_lasting(sizes[i]);
            sum += sizes[i];
            ck_assert(!known || is_meant_to_be_huge(blocks[much][i]) == (much == 1));
        }
        uint64_t rest = much ? 4 << 20 : 1 << 20; /* of the last region, or arena */
        ck_assert_uint_ge(ht_heap_mapped() - before + (much ? 0 : rest), sum);
        ck_assert_uint_le(ht_heap_mapped() - before, sum + rest);
    }
    ht_heap_free(blocks[1][2]); /* which is not heard */
    ck_assert_ptr_ne(ht_heap_alloc_lasting(3 << 20), blocks[1][2]);
    for (unsigned i = 0; i < 2 * COUNT; i++)
        ck_assert(is_filled(blocks[i / COUNT][i % COUNT], 0x5a, sizes[i % COUNT]));
    ck_assert_ptr_null(ht_heap_alloc_lasting(SIZE_MAX));
}
END_TEST

START_TEST(too_large_fails)
{
    ck_assert_ptr_null(ht_heap_alloc((size_t)1 << 41, 16));
    ck_assert_ptr_null(ht_heap_alloc(SIZE_MAX, 16));
    ck_assert_ptr_null(ht_heap_alloc(100, (size_t)1 << 30));
}
END_TEST

#ifndef __SANITIZE_ADDRESS__ /* which reserves more address space than such a limit leaves */
START_TEST(no_memory_keeps_errno)
{
    struct rlimit limit = {64 << 20, 64 << 20};
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    errno = 77;
    ck_assert_ptr_null(ht_heap_alloc((size_t)256 << 20, 16));
    ck_assert_int_eq(errno, 77);
    ck_assert_ptr_nonnull(ht_heap_alloc(100, 16));
    /* Nor is there room for a region: then it is done without. */
    ht_heap_expect_much();
    limit.rlim_cur = 1 << 20; /* below what is there already, but for arenas */
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_ptr_nonnull(ht_heap_alloc_lasting(1000));
    ck_assert_int_eq(errno, 77);
}
END_TEST
#endif

static volatile unsigned handled;

static void allocate_in_handler(int number)
{
    (void)number;
    ht_heap_free(ht_heap_alloc(700, 16));
    handled++;
}

/* A handler never finds the lock held by what it interrupted. */
START_TEST(handlers_may_allocate)
{
    struct sigaction action = {.sa_handler = allocate_in_handler};
    struct itimerval timer = {{0, 100}, {0, 100}};
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
    while (handled < 2000)
        ht_heap_free(ht_heap_alloc(700, 16));
    timer = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
}
END_TEST

static void *churn(void *argument)
{
    uint64_t random = (uintptr_t)argument + 1;
    for (unsigned i = 0; i < 20000; i++) {
        size_t size = support_random(&random) % (i % 100 ? 500 : 100000);
        unsigned char *p = ht_heap_alloc(size, 16);
        memset(p, (int)(uintptr_t)argument, size);
        for (size_t j = 0; j < size; j += 50)
            ck_assert_uint_eq(p[j], (uintptr_t)argument);
        ck_assert(ht_heap_owns(p));
        ht_heap_free(p);
    }
    return NULL;
}

START_TEST(threads_share_it)
{
    pthread_t threads[4];
    for (uintptr_t t = 0; t < 4; t++)
        pthread_create(&threads[t], NULL, churn, (void *)t);
    for (unsigned t = 0; t < 4; t++)
        pthread_join(threads[t], NULL);
}
END_TEST

START_TEST(one_line_in_one_write)
{
    int ends[2], saved = dup(2);
    char line[HT_MESSAGE_MAX + 100], huge[3000];
    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    ck_assert_int_eq(pipe2(ends, O_DIRECT), 0); /* a read gives one write */
    dup2(ends[1], 2);
    errno = 77;
    ht_say("%d and %s", 5, "text");
    int after = errno;
    ssize_t n = read(ends[0], line, sizeof line), m;
    ht_say("%s", huge);
    m = read(ends[0], line + n, sizeof line - (size_t)n);
    dup2(saved, 2);
    ck_assert_int_eq(after, 77);
    ck_assert_int_eq(strncmp(line, "heaptally: 5 and text\n", (size_t)n), 0);
    ck_assert_int_le(m, HT_MESSAGE_MAX);
    ck_assert_int_eq(line[n + m - 1], '\n');
}
END_TEST

START_TEST(small_files_and_writes)
{
    char path[100], text[8];
    snprintf(path, sizeof path, "%s/small", support_directory());
    errno = 77;
    ck_assert_int_eq(ht_read_file(path, text, sizeof text), -ENOENT);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(ht_write_all(fd, "123456789", 9), 0);
    ck_assert_int_eq(ht_read_file(path, text, sizeof text), 7); /* what does not fit is cut */
    ck_assert_str_eq(text, "1234567");
    ck_assert_int_eq(ftruncate(fd, 3), 0);
    ck_assert_int_eq(ht_read_file(path, text, sizeof text), 3);
    ck_assert_str_eq(text, "123");
    close(fd);
    ck_assert_int_eq(ht_write_all(fd, "1", 1), -EBADF);
    ck_assert_int_eq(errno, 77);
}
END_TEST

SUPPORT_MAIN("internal_heap", aligned_zeroed_and_owned, freed_blocks_are_used_again,
             tables_of_much_stand_in_huge_pages, too_large_fails,
#ifndef __SANITIZE_ADDRESS__
             no_memory_keeps_errno,
#endif
             handlers_may_allocate, threads_share_it, one_line_in_one_write, small_files_and_writes)
