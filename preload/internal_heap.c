#include "internal_heap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_SIZE  ((size_t)256 << 10)
#define RANGES      256  /* in one table of them */
#define MAX_RANGES  4096 /* arenas and own mappings at one time */
#define CLASS_COUNT 64

/* Stands directly before every block. */
struct head {
    uint32_t class_or_pages; /* size class, or OWN_MAPPING | pages, or LASTING | lines */
    uint32_t shift;          /* from the start of the underlying block to this head */
    uint64_t zero;           /* see internal_heap.h */
};
_Static_assert(sizeof(struct head) == 16, "a block follows its head at a multiple of 16");

#define OWN_MAPPING 0x80000000u
#define LASTING     0x40000000u /* in a region of huge pages, without OWN_MAPPING; and its lines */

#define LINE      ((size_t)64)
#define HUGE_PAGE ((size_t)2 << 20)

struct free_block {
    struct free_block *next;
};

/* An address range of this heap; written under the lock, read without: `start` is stored last and
 * cleared first, so that a reader never sees a range that was not wholly there. */
struct range {
    _Atomic uintptr_t start;
    _Atomic uintptr_t end;
};

/* Held with all signals blocked: a handler may allocate, begin a thread's state, or fork, and must
 * never find the lock held by what it interrupted. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct free_block *free_blocks[CLASS_COUNT]; /* lock */
static char *arena_next, *arena_end;                /* lock */
static char *lasting_next, *lasting_end;            /* of a region of huge pages; lock */
static uint64_t mapped;                             /* lock for writing */
uint64_t ht_heap_touched[HT_HEAP_GRANULES / 64];    /* written under the lock, but at start */
static struct range first_ranges[RANGES];
static struct range *_Atomic ranges[MAX_RANGES / RANGES] = {first_ranges}; /* in this order */
static _Atomic unsigned range_count;
static _Atomic bool refused, much;

static void block_all(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

static _Atomic pthread_t many_by; /* of ht_heap_many_begin; 0: nobody */
static sigset_t many_before;      /* its signals */

void ht_heap_many_begin(void)
{
    block_all(&many_before);
    many_by = pthread_self();
}

void ht_heap_many_end(void)
{
    many_by = 0;
    pthread_sigmask(SIG_SETMASK, &many_before, NULL);
}

static void enter(sigset_t *before)
{
    if (many_by != pthread_self())
        block_all(before);
    pthread_mutex_lock(&lock);
}

static void leave(const sigset_t *before)
{
    pthread_mutex_unlock(&lock);
    if (many_by != pthread_self())
        pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* Four classes a doubling from 64 bytes on, all multiples of 16: at most a quarter is wasted. */
static size_t class_size(unsigned class)
{
    return ((size_t)4 + class % 4) << (class / 4 + 4);
}

static unsigned class_of(size_t size)
{
    unsigned class = 0;
    while (class_size(class) < size)
        class ++;
    return class;
}

static struct range *range_at(unsigned i)
{
    return &ranges[i / RANGES][i % RANGES];
}

static void *map_pages(size_t size)
{
    int saved = errno;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    return p == MAP_FAILED ? NULL : p;
}

void ht_heap_touch(uintptr_t start, size_t size)
{
    uintptr_t first = start / HT_HEAP_GRANULE, last = (start + size - 1) / HT_HEAP_GRANULE;
    for (uintptr_t g = first; g <= last && g - first < HT_HEAP_GRANULES; g++)
        __atomic_fetch_or(&ht_heap_touched[g % HT_HEAP_GRANULES / 64], UINT64_C(1) << g % 64,
                          __ATOMIC_RELAXED);
}

static bool add_range(uintptr_t start, size_t size)
{
    unsigned i = 0, count = range_count;
    while (i < count && range_at(i)->start)
        i++;
    if (i == MAX_RANGES)
        return false;
    if (!ranges[i / RANGES]) {
        void *table = map_pages(RANGES * sizeof(struct range));
        if (!table)
            return false;
        ranges[i / RANGES] = table;
        mapped += RANGES * sizeof(struct range);
    }
    ht_heap_touch(start, size);
    range_at(i)->end = start + size;
    range_at(i)->start = start;
    if (i == count)
        range_count = count + 1;
    return true;
}

static void *map(size_t size)
{
    void *p = map_pages(size);
    if (!p) {
        refused = true;
        return NULL;
    }
    if (!add_range((uintptr_t)p, size)) {
        munmap(p, size);
        return NULL;
    }
    mapped += size;
    return p;
}

static void unmap(void *p, size_t size)
{
    for (unsigned i = 0; i < range_count; i++) {
        if (range_at(i)->start == (uintptr_t)p) {
            range_at(i)->start = 0;
            break;
        }
    }
    mapped -= size;
    munmap(p, size);
}

/* Makes free blocks of what is left of an arena, the largest first. */
static void give_rest(void)
{
    for (unsigned class = class_of(ARENA_SIZE / 4) + 1; class -- > 0;) {
        size_t size = class_size(class);
        while ((size_t)(arena_end - arena_next) >= size) {
            struct free_block *block = (struct free_block *)arena_next;
            block->next = free_blocks[class];
            free_blocks[class] = block;
            arena_next += size;
        }
    }
}

/* A block of `size` bytes with its head's fields to be filled in; the caller holds the lock. */
static struct head *take(size_t size)
{
    if (size > ARENA_SIZE / 4) {
        size_t pages = (size + 4095) / 4096;
        struct head *head = map(pages * 4096);
        if (head)
            head->class_or_pages = OWN_MAPPING | (uint32_t)pages;
        return head;
    }
    unsigned class = class_of(size);
    size = class_size(class);
    struct head *head;
    if (free_blocks[class]) {
        head = (struct head *)free_blocks[class];
        free_blocks[class] = free_blocks[class]->next;
        memset(head, 0, size);
    } else {
        if ((size_t)(arena_end - arena_next) < size) {
            char *arena = map(ARENA_SIZE);
            if (!arena)
                return NULL;
            give_rest();
            arena_next = arena;
            arena_end = arena + ARENA_SIZE;
        }
        head = (struct head *)arena_next;
        arena_next += size;
    }
    head->class_or_pages = class;
    return head;
}

/* Whether what is mapped is resident at once (MCL_FUTURE): in small pages then, before anybody can
 * ask for huge ones. */
static bool comes_at_once(void)
{
    unsigned char there = 0;
    void *page = map_pages(4096);
    if (!page)
        return true;
    mincore(page, 4096, &there);
    munmap(page, 4096);
    return there & 1;
}

/* Maps whole huge pages, or what stands for them where the system has none for us; NULL without
 * memory, which is no reason to go without. */
static char *map_region(size_t size)
{
    int saved = errno;
    char *p = comes_at_once() ? NULL : map_pages(size + HUGE_PAGE);
    if (!p) {
        errno = saved;
        return NULL;
    }
    size_t before = -(uintptr_t)p % HUGE_PAGE;
    if (before)
        munmap(p, before);
    p += before;
    munmap(p + size, HUGE_PAGE - before);
    if (add_range((uintptr_t)p, size)) {
        madvise(p, size, MADV_HUGEPAGE);
        mapped += size;
    } else {
        munmap(p, size);
        p = NULL;
    }
    errno = saved;
    return p;
}

/* `size` bytes of a region, of which `*fresh` is the end where it is new. The caller holds
 * the lock. */
static char *carve(size_t size, char **fresh)
{
    char *place = lasting_next;
    if ((size_t)(lasting_end - lasting_next) >= size) {
        lasting_next += size;
        return place;
    }
    size_t bytes = (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    place = map_region(bytes);
    if (!place)
        return NULL;
    *fresh = place + bytes;
    if (bytes - size > (size_t)(lasting_end - lasting_next)) { /* the more is left of it */
        lasting_next = place + size;
        lasting_end = place + bytes;
    }
    return place;
}

void ht_heap_expect_much(void)
{
    much = true;
}

void *ht_heap_alloc_lasting(size_t size)
{
    if (size > (size_t)1 << 32)
        return NULL;
    size_t lines = (size + LINE - 1) / LINE;
    char *fresh = NULL, *place = NULL;
    sigset_t before;
    enter(&before);
    if (much)
        place = carve((lines + 1) * LINE, &fresh);
    leave(&before);
    if (!place)
        return ht_heap_alloc(size, LINE);
    /* A huge page takes a while to come, for which nobody is to wait later. */
    for (char *page = fresh ? place : NULL; page < fresh; page += HUGE_PAGE)
        __atomic_fetch_or(page, 0, __ATOMIC_RELAXED); /* it may be somebody else's already */
    struct head *head = (struct head *)(place + LINE) - 1;
    *head = (struct head){.class_or_pages = LASTING | (uint32_t)lines};
    return head + 1;
}

/* Of a block that lasts; 0 where it does not. */
static size_t lines_lasting(const struct head *head)
{
    bool lasts = (head->class_or_pages & (OWN_MAPPING | LASTING)) == LASTING;
    return lasts ? head->class_or_pages & ~LASTING : 0;
}

void *ht_heap_alloc(size_t size, size_t alignment)
{
    if (alignment < 16)
        alignment = 16;
    if (size > (size_t)1 << 40 || alignment > (size_t)1 << 20)
        return NULL;
    size_t slack = alignment - 16;
    sigset_t before;
    enter(&before);
    struct head *base = take(sizeof *base + size + slack);
    leave(&before);
    if (!base)
        return NULL;
    uintptr_t block = ((uintptr_t)(base + 1) + slack) & ~(uintptr_t)(alignment - 1);
    struct head *head = (struct head *)block - 1;
    uint32_t class_or_pages = base->class_or_pages;
    head->class_or_pages = class_or_pages;
    head->shift = (uint32_t)((char *)head - (char *)base);
    head->zero = 0;
    return (void *)block;
}

void ht_heap_free(void *block)
{
    if (!block)
        return;
    struct head *head = (struct head *)block - 1;
    uint32_t class_or_pages = head->class_or_pages;
    struct free_block *base = (struct free_block *)((char *)head - head->shift);
    sigset_t before;
    if (lines_lasting(head))
        return;
    enter(&before);
    if (class_or_pages & OWN_MAPPING) {
        unmap(base, (size_t)(class_or_pages & ~OWN_MAPPING) * 4096);
    } else {
        base->next = free_blocks[class_or_pages];
        free_blocks[class_or_pages] = base;
    }
    leave(&before);
}

size_t ht_heap_usable(const void *block)
{
    const struct head *head = (const struct head *)block - 1;
    if (lines_lasting(head))
        return lines_lasting(head) * LINE;
    size_t size = head->class_or_pages & OWN_MAPPING
                      ? (size_t)(head->class_or_pages & ~OWN_MAPPING) * 4096
                      : class_size(head->class_or_pages);
    return size - sizeof *head - head->shift;
}

bool ht_heap_owns(const void *block)
{
    uintptr_t p = (uintptr_t)block;
    if (!ht_heap_may_own(block))
        return false;
    for (unsigned i = 0, count = range_count; i < count; i++) {
        struct range *range = range_at(i);
        uintptr_t start = range->start;
        /* Read again: the place may have been given to another range in between, and the start of
         * one with the end of the other says nothing. */
        if (start && p >= start && p < range->end && range->start == start)
            return true;
    }
    return false;
}

uint64_t ht_heap_mapped(void)
{
    return __atomic_load_n(&mapped, __ATOMIC_RELAXED);
}

bool ht_heap_was_refused(void)
{
    return refused;
}

void ht_heap_lock(void)
{
    pthread_mutex_lock(&lock);
}

void ht_heap_unlock(void)
{
    pthread_mutex_unlock(&lock);
}
