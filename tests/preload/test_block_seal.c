/* Seals: what is written is read back; short overruns are told from strangers. */
#include "../../preload/block_seal.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../preload/site_table.h"
#include "../../preload/tag.h"
#include "support.h"

#define SITES 300

static uint32_t sites[SITES];

/* The compiler must not know that these are blocks: what stands in front of them is read. */
static void *(*volatile take)(size_t size) = malloc;

/* Sites as a program has them after a while. */
static void make_sites(void)
{
    support_begin();
    for (unsigned i = 0; i < SITES; i++)
        sites[i] = ht_site_fallback(0x401000 + 16 * i, 0);
}

static void check_round_trip(void *p, size_t size, uint32_t site)
{
    struct ht_block block = {0};
    size_t usable = malloc_usable_size(p) & ~(size_t)7;
    ht_seal_write(p, size, site);
    ck_assert_int_eq(ht_seal_read(p, &block), HT_SEAL_VALID);
    ck_assert_uint_eq(block.size, size);
    ck_assert_uint_eq(block.site, site);
    ck_assert_ptr_eq(block.seal, (char *)p + usable - 8);
    /* The program may write all that it is told of, and the record stays. */
    size_t told = ht_seal_usable(&block, p);
    ck_assert_uint_ge(told, size);
    ck_assert_uint_le(told, usable - 8);
    memset(p, 0xa5, told);
    ck_assert_int_eq(ht_seal_read(p, &block), HT_SEAL_VALID);
    ck_assert_uint_eq(block.size, size);
    *block.seal = 0;
    ck_assert_int_eq(ht_seal_read(p, &block), HT_SEAL_FOREIGN);
}

static void round_trips(void)
{
    static const size_t large[] = {61440, 61441, 65528, 65536, 131072, 200000, 1 << 20, 40 << 20};
    for (size_t size = 0; size <= 5200; size++) {
        void *p = take(ht_seal_padded(size));
        check_round_trip(p, size, sites[size % SITES]);
        free(p);
    }
    for (unsigned i = 0; i < sizeof large / sizeof *large; i++) {
        void *p = take(ht_seal_padded(large[i])), *q = memalign(4096, ht_seal_padded(large[i]));
        check_round_trip(p, large[i], sites[i]);
        check_round_trip(q, large[i], sites[i]);
        free(p);
        free(q);
    }
    /* Every slack around the escape, from a block that holds far more than was asked for. */
    char *roomy = take(20000);
    for (size_t size = 0; size <= 20000 - 8 - 8; size += 1 + size % 7)
        check_round_trip(roomy, size, sites[size % SITES]);
    free(roomy);
}

START_TEST(round_trips_by_asking)
{
    make_sites();
    ht_real.chunk_layout_known = false;
    round_trips();
}
END_TEST

START_TEST(round_trips_by_chunk)
{
    make_sites();
    if (!support_has_glibc_malloc())
        return; /* the sanitizer's own allocator: the other test is the one that runs */
    ht_real.chunk_layout_known = true;
    round_trips();
}
END_TEST

START_TEST(fast_ways_agree)
{
    make_sites();
    if (!support_has_glibc_malloc())
        return;
    ht_real.chunk_layout_known = true;
    for (size_t size = 0; size <= HT_SEAL_SMALL; size += 1 + size / 500) {
        struct ht_block fast, slow;
        char *p = take(ht_seal_padded(size));
        ht_seal_write_fast(p, size, sites[size % SITES]);
        ck_assert_int_eq(ht_seal_read(p, &slow), HT_SEAL_VALID);
        if (ht_seal_read_fast(p, &fast)) {
            ck_assert_uint_eq(fast.size, size);
            ck_assert_uint_eq(fast.site, slow.site);
            ck_assert_ptr_eq(fast.seal, slow.seal);
        } else { /* only what the fast way leaves alone */
            ck_assert_uint_gt(malloc_usable_size(p), HT_SEAL_SMALL);
        }
        *slow.seal ^= 1; /* a seal that is not whole is never read the fast way */
        ck_assert(!ht_seal_read_fast(p, &fast));
        free(p);
    }
}
END_TEST

struct outcome {
    unsigned tried, recovered, wrong;
    unsigned not_believed; /* lost, as they should be: the upper half is common in other words */
};

/* The program writes `bytes` past what it may: the low bytes of the seal. */
static struct outcome overrun(unsigned bytes)
{
    static const unsigned char written[] = {0, 1, 'A', 0x7f, 0xff};
    struct outcome outcome = {0};
    for (size_t size = 0; size < 2000; size++) {
        unsigned char *p = take(ht_seal_padded(size));
        struct ht_block block;
        for (unsigned w = 0; w < sizeof written; w++) {
            ht_seal_write(p, size, sites[size % SITES]);
            unsigned char *seal = p + (malloc_usable_size(p) & ~(size_t)7) - 8, before[8];
            memcpy(before, seal, 8);
            memset(seal, written[w], bytes);
            if (memcmp(before, seal, 8) == 0)
                continue;
            outcome.tried++;
            enum ht_seal_state state = ht_seal_read(p, &block);
            ck_assert_int_ne(state, HT_SEAL_VALID);
            if (state == HT_SEAL_OVERRUN) {
                bool right = block.size == size && block.site == sites[size % SITES];
                ++*(right ? &outcome.recovered : &outcome.wrong);
            } else if ((before[6] | before[7]) == 0 || (before[6] & before[7]) == 0xff) {
                outcome.not_believed++;
            }
        }
        free(p);
    }
    printf("overrun of %u: %u of %u recovered, %u taken for another record\n", bytes,
           outcome.recovered, outcome.tried, outcome.wrong);
    ck_assert_uint_gt(outcome.tried, 5000);
    return outcome;
}

START_TEST(short_overruns_keep_the_record)
{
    make_sites();
    ht_real.chunk_layout_known = false;
    for (unsigned bytes = 1; bytes <= 4; bytes++) {
        struct outcome outcome = overrun(bytes);
        ck_assert_uint_eq(outcome.wrong, 0);
        if (bytes < 4)
            ck_assert_uint_eq(outcome.recovered, outcome.tried);
        else
            ck_assert_uint_eq(outcome.recovered + outcome.not_believed, outcome.tried);
    }
}
END_TEST

/* What is lost is lost: but it is not another record that is found. By chance alone it makes sense
 * for 57 of 4096 slacks and some 300 of 2^20 sites. */
START_TEST(long_overruns_are_no_records)
{
    make_sites();
    ht_real.chunk_layout_known = false;
    for (unsigned bytes = 5; bytes <= 8; bytes++)
        ck_assert_uint_le(overrun(bytes).wrong, 1);
}
END_TEST

/* How many of a million blocks that were never sealed are taken for ours. */
static unsigned strangers(uint64_t (*word)(uint64_t *random))
{
    static uint64_t memory[1 << 16];
    uint64_t random = 88172645463325252u;
    unsigned wrong = 0;
    ht_real.chunk_layout_known = true; /* the chunks here are made by hand */
    for (unsigned i = 0; i < 1000000; i++) {
        uint64_t *p = memory + 2 + 2 * (support_random(&random) % 30000);
        unsigned words = 3 + 2 * (support_random(&random) % 20);
        p[-1] = words * 8 + 8 + 1;
        p[words - 1] = word(&random);
        struct ht_block block;
        wrong += ht_seal_read(p, &block) != HT_SEAL_FOREIGN;
    }
    return wrong;
}

static uint64_t zero(uint64_t *random)
{
    (void)random;
    return 0;
}

static uint64_t address(uint64_t *random)
{
    return UINT64_C(0x7f0000000000) + (support_random(random) & 0xfffffffff8u);
}

static uint64_t count(uint64_t *random)
{
    return support_random(random) & 0xffffff;
}

static uint64_t negative(uint64_t *random)
{
    return ~(support_random(random) & 0xffff);
}

static uint64_t anything(uint64_t *random)
{
    return support_random(random);
}

START_TEST(strangers_stay_strangers)
{
    static const struct {
        const char *name;
        uint64_t (*word)(uint64_t *random);
        unsigned most;
    } kinds[] = {{"zeros", zero, 0},
                 {"addresses", address, 3},
                 {"counts", count, 3},
                 {"negatives", negative, 3},
                 /* 57/4096 slacks x ~320/2^20 sites x 10^6 = 4.2 expected */
                 {"anything", anything, 20}};
    make_sites();
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        unsigned wrong = strangers(kinds[i].word);
        printf("%s: %u of 1000000 taken for ours\n", kinds[i].name, wrong);
        ck_assert_uint_le(wrong, kinds[i].most);
    }
}
END_TEST

START_TEST(implausible_sizes_are_not_followed)
{
    static const size_t sizes[] = {0,       1,     8, 9, 16, 17, ~(size_t)0, (size_t)1 << 47,
                                   1 << 30, 131073};
    make_sites();
    ht_real.chunk_layout_known = true;
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_int_eq(mprotect(page + 4096, 4096, PROT_NONE), 0);
    size_t *p = (size_t *)(page + 4096 - 16);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ht_block block;
        p[-1] = sizes[i];
        ck_assert_int_eq(ht_seal_read(p, &block), HT_SEAL_FOREIGN);
    }
}
END_TEST

SUPPORT_MAIN("block_seal", round_trips_by_asking, round_trips_by_chunk, fast_ways_agree,
             short_overruns_keep_the_record, long_overruns_are_no_records, strangers_stay_strangers,
             implausible_sizes_are_not_followed)
