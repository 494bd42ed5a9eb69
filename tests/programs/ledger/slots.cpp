#include "slots.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <unistd.h>

#include "book.h"

ledger_settings settings;
std::atomic<unsigned long> misaligned;

uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D) >> 20;
}

void ledger_fail(const char *what)
{
    static const char head[] = "ledger: ";
    if (write(2, head, sizeof head - 1) < 0 || write(2, what, strlen(what)) < 0 ||
        write(2, "\n", 1) < 0)
        _exit(4);
    _exit(3);
}

/* Mostly small, some of a page or more, few beyond the size that gets a mapping of its own. */
size_t random_size(uint64_t *random)
{
    uint64_t r = random_next(random), spread = random_next(random);
    if (r % 400 == 0)
        return spread % (1u << 20);
    if (r % 20 == 0)
        return spread % 20000;
    if (r % 50 == 1)
        return 0;
    return spread % 300;
}

/* The pattern covers both ends of the block: what lies next to it, and the size that it has now. */
static void paint(struct slot *s)
{
    size_t edge = s->size < 128 ? s->size : 64;
    memset(s->block, s->pattern, edge);
    memset(s->block + s->size - edge, s->pattern, edge);
}

static void check(const struct slot *s, size_t size)
{
    size_t edge = size < 128 ? size : 64;
    for (size_t i = 0; i < edge; i++)
        if (s->block[i] != s->pattern || s->block[size - 1 - i] != s->pattern)
            ledger_fail("a block's content was overwritten");
}

static void check_zero(const struct slot *s)
{
    for (size_t i = 0; i < s->size; i++)
        if (s->block[i] != 0)
            ledger_fail("calloc gave bytes that are not 0");
}

/* A program may use all that malloc_usable_size promises. */
static void use_whole(struct slot *s)
{
    size_t usable = malloc_usable_size(s->block);
    if (usable < s->size)
        ledger_fail("malloc_usable_size is less than the size asked for");
    memset(s->block + s->size, 0x5a, usable - s->size);
}

void slot_fill(uint64_t *random, struct slot *s, int tag)
{
    int count;
    const allocate_call *calls = allocate_calls(settings.pvalloc, &count);
    s->call = &calls[random_next(random) % (unsigned)count];
    s->size = random_size(random);
    s->align = (size_t)8 << random_next(random) % 10;
    if (s->call->family == C_ALIGNED_ALLOC) /* C asks for a multiple of the alignment */
        s->size = (s->size + s->align - 1) & ~(s->align - 1);
    if (s->call->family >= NEW_ONE_ALIGNED && s->size == 0)
        s->size = 1; /* jemalloc 5.3 errs in a sized aligned delete of nothing */
    s->pattern = (unsigned char)(random_next(random) | 1);
    s->tag = tag;
    s->block = (unsigned char *)s->call->allocate(s->size, s->align);
    if (!s->block)
        ledger_fail("out of memory");
    book_allocated(tag, s->size);
    size_t align = s->call->takes_align ? s->align : s->call->own_align;
    if (align == 16 && s->size < 16) /* a smaller object needs no more than its own alignment */
        align = 8;
    if (s->size && (uintptr_t)s->block % align)
        misaligned.fetch_add(1, std::memory_order_relaxed);
    if (s->call->zeroed)
        check_zero(s);
    paint(s);
    if (random_next(random) % 16 == 0)
        use_whole(s);
}

void slot_release(uint64_t *random, struct slot *s)
{
    int count;
    const release_call *calls = release_calls(&count);
    unsigned start = (unsigned)random_next(random) % (unsigned)count;
    while (calls[start].family != s->call->family)
        start = (start + 1) % (unsigned)count;
    check(s, s->size);
    book_freed(s->tag, s->size);
    calls[start].release(s->block, s->size, s->align);
    s->block = nullptr;
}

bool slot_resizable(const struct slot *s)
{
    return s->block && (s->call->family == C_PLAIN || s->call->family == C_ALIGNED);
}

/* realloc to nothing frees with some allocators and gives an empty block with others: the result
   tells which. */
static void resize_to_nothing(struct slot *s, int tag)
{
    volatile size_t nothing = 0;
    book_freed(s->tag, s->size);
    s->block = (unsigned char *)realloc(s->block, nothing);
    if (!s->block)
        return;
    s->tag = tag;
    s->size = 0;
    book_allocated(tag, 0);
}

void slot_resize(uint64_t *random, struct slot *s, int open_tag)
{
    int tag = open_tag != TAG_NONE ? open_tag : s->tag; /* an open scope takes it, none leaves it */
    uint64_t r = random_next(random);
    check(s, s->size);
    if (r % 24 == 0) {
        resize_to_nothing(s, tag);
        return;
    }
    /* A third grows by little, as a history that is appended to does: often in place. */
    size_t size = r % 3 == 0 ? s->size + 1 + random_next(random) % 64 : random_size(random);
    if (size == 0)
        size = 1;
    void *moved = r % 5 == 0 ? reallocarray(s->block, size, 1) : realloc(s->block, size);
    if (!moved)
        ledger_fail("out of memory on resize");
    book_freed(s->tag, s->size);
    book_allocated(tag, size);
    s->block = (unsigned char *)moved;
    size_t kept = s->size < size ? s->size : size;
    size_t edge = s->size < 128 ? s->size : 64; /* only this much was painted at the start */
    for (size_t i = 0; i < edge && i < kept; i++)
        if (s->block[i] != s->pattern)
            ledger_fail("realloc lost a block's content");
    s->tag = tag;
    s->size = size;
    paint(s);
}
