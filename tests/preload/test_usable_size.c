/* Usable sizes that are not asked for: what is known of a request is what the allocator said, and a
 * guess is believed only where the seal of the very block stands. */
#include "../../preload/usable_size.h"

#include <string.h>
#include <sys/mman.h>

#include "../../preload/block_seal.h"
#include "../../preload/site_table.h"
#include "support.h"

#define PAGE 4096u

/* ---- an allocator with size classes -------------------------------------------------------------
 */

static size_t says; /* of any block */
static unsigned asked;

static size_t say(void *p)
{
    (void)p;
    asked++;
    return says;
}

static size_t promise(size_t size, int flags)
{
    ck_assert_int_eq(flags, 0);
    return (size + 15) & ~(size_t)15;
}

static void begin(void)
{
    support_begin();
    ht_real.chunk_layout_known = false;
    ht_real.malloc_usable_size = say;
    ht_real.nallocx = promise;
    ck_assert(ht_usable_begin());
}

/* A page that can be read, with none before and none after it. */
static char *lonely_page(void)
{
    char *pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(pages, MAP_FAILED);
    ck_assert_int_eq(mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
    return pages + PAGE;
}

/* ---- by request ---------------------------------------------------------------------------------
 */

START_TEST(learnt_where_promised)
{
    char block[16];
    begin();
    for (size_t size = 0; size < HT_SEAL_KNOWN_BELOW; size++) {
        size_t request = ht_seal_padded_other(size);
        ck_assert_uint_eq(request, ht_seal_padded(size));
        ck_assert_uint_ge(request, size + HT_SEAL_SIZE);
        ck_assert_uint_eq(request % 8, 0);
        says = promise(request, 0);
        if (size % 8 == 1)
            ck_assert_uint_eq(ht_seal_known(size), 0);
        ck_assert_uint_eq(ht_usable_learn(block, request), says);
        ck_assert_uint_eq(ht_seal_known(size), says);
    }
}
END_TEST

START_TEST(not_learnt_where_it_varies)
{
    char block[16];
    begin();
    says = 120; /* of 104 bytes: an aligned block, say */
    ck_assert_uint_eq(ht_usable_learn(block, 104), 120);
    ck_assert_uint_eq(ht_seal_known(96), 0);
    says = 96; /* less than was asked for */
    ck_assert_uint_eq(ht_usable_learn(block, 104), 96);
    ck_assert_uint_eq(ht_seal_known(96), 0);
    ht_real.nallocx = NULL; /* no promise */
    says = 112;
    ck_assert_uint_eq(ht_usable_learn(block, 104), 112);
    ck_assert_uint_eq(ht_seal_known(96), 0);
    says = 111; /* a seal stands at a multiple of 8 */
    ck_assert_uint_eq(ht_usable_learn(block, 104), 104);
    ht_real.nallocx = promise;
    says = 65536; /* beyond the table */
    ck_assert_uint_eq(ht_usable_learn(block, 65536), 65536);
}
END_TEST

/* So much more than was asked for that the seal needs an escape. */
static size_t promise_a_page(size_t size, int flags)
{
    (void)flags;
    return (size + PAGE - 1) & ~(size_t)(PAGE - 1);
}

START_TEST(not_learnt_where_the_seal_says_more)
{
    char block[16];
    begin();
    ht_real.nallocx = promise_a_page;
    for (size_t size = 0; size < HT_SEAL_KNOWN_BELOW; size++) {
        size_t request = ht_seal_padded_other(size);
        says = promise_a_page(request, 0);
        ck_assert_uint_eq(ht_usable_learn(block, request), says);
        if (says + HT_SEAL_SIZE - size >= HT_EXCESS_ESCAPE)
            ck_assert_uint_eq(ht_seal_known(size), 0);
    }
    ck_assert_uint_eq(ht_seal_known(PAGE - 8), PAGE);
    ck_assert_uint_eq(ht_seal_known(2 * PAGE - 100), 2 * PAGE);
}
END_TEST

START_TEST(seals_of_known_blocks_are_read)
{
    static uint64_t room[HT_USABLE_REQUEST / 8 + 2];
    char *p = (char *)room;
    begin();
    uint32_t site = ht_site_fallback(0x401000, 0);
    for (size_t size = 0; size < HT_SEAL_KNOWN_BELOW; size += 3) {
        struct ht_block block;
        says = promise(ht_seal_padded_other(size), 0);
        ht_usable_learn(p, ht_seal_padded_other(size));
        size_t usable = ht_seal_known(size);
        ht_seal_put(p, usable + HT_SEAL_SIZE, size - usable - HT_SEAL_SIZE, site);
        ck_assert_int_eq(ht_seal_read(p, &block), HT_SEAL_VALID);
        ck_assert_uint_eq(block.size, size);
        ck_assert_uint_eq(block.site, site);
        ck_assert_ptr_eq(block.seal, p + usable - 8);
    }
}
END_TEST

/* ---- by page ------------------------------------------------------------------------------------
 */

/* Each block of a page that is of one size is read without asking, but for the first. */
START_TEST(guessed_on_a_page_of_one_size)
{
    char *page = lonely_page();
    begin();
    uint32_t site = ht_site_fallback(0x401000, 0);
    for (size_t usable = 16; usable <= PAGE; usable += 16) {
        struct ht_block block;
        asked = 0;
        says = usable;
        for (char *p = page; p + usable <= page + PAGE; p += usable) {
            ht_seal_write_other(p, usable, usable - 8, site);
            ck_assert(ht_seal_read_guessed(p, &block) || ht_seal_read_asked(p, &block));
            ck_assert_uint_eq(block.size, usable - 8);
            ck_assert_uint_eq(block.site, site);
            ck_assert_ptr_eq(block.seal, p + usable - 8);
        }
        ck_assert_uint_eq(asked, 1);
        memset(page, 0, PAGE);
    }
}
END_TEST

/* Whatever is guessed, nothing beside the page is read, and no other block is taken for this one.
 */
START_TEST(wrong_guesses_are_not_believed)
{
    char *page = lonely_page();
    begin();
    uint32_t site = ht_site_fallback(0x401000, 0);
    unsigned differ = 0;
    for (size_t usable = 16; usable <= PAGE; usable += 240) {
        for (char *p = page; p + usable <= page + PAGE; p += usable)
            ht_seal_write_other(p, usable, usable / 2, site);
        for (size_t guess = 16; guess <= PAGE; guess += 16) {
            ht_usable_note(page, guess);
            for (char *p = page; p < page + PAGE; p += 8) {
                struct ht_block block;
                bool right = guess == usable && (size_t)(p - page) % usable == 0 &&
                             p + usable <= page + PAGE;
                differ += ht_seal_read_guessed(p, &block) != right;
            }
        }
        memset(page, 0, PAGE);
    }
    ck_assert_uint_eq(differ, 0);
}
END_TEST

START_TEST(noted_only_where_it_can_be_guessed)
{
    static const size_t impossible[] = {0,    1,    8,    24,    40,         4095,
                                        4104, 4112, 8192, 65536, ~(size_t)15};
    char *page = lonely_page();
    size_t usable;
    begin();
    ck_assert(ht_usable_guess(page, &usable)); /* at first: a page */
    ck_assert_uint_eq(usable, PAGE);
    ck_assert(!ht_usable_guess(page + 16, &usable));
    ht_usable_note(page + 48, 48);
    for (unsigned i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        ht_usable_note(page, impossible[i]);
        ck_assert(ht_usable_guess(page + 96, &usable));
        ck_assert_uint_eq(usable, 48);
    }
    ck_assert(ht_usable_guess(page + PAGE - 48, &usable));
    ck_assert(!ht_usable_guess(page + PAGE - 40, &usable)); /* it ends on the next page */
    ck_assert(!ht_usable_guess(page + PAGE, &usable) || usable == PAGE);
}
END_TEST

/* At a multiple of 4 GB a word of zeros would be a seal: the allocator is asked. */
START_TEST(zeros_are_no_seal)
{
    begin();
    uintptr_t free = (uintptr_t)1 << 45; /* also beside the sanitizer's own */
    for (uintptr_t place = free; place < free + ((uintptr_t)8 << 32); place += (uintptr_t)1 << 32) {
        char *page = mmap((void *)place, 2 * PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (page == MAP_FAILED)
            continue; /* somebody else's */
        struct ht_block block;
        for (size_t usable = 16; usable <= PAGE; usable += 16) {
            ht_usable_note(page, usable);
            ck_assert(!ht_seal_read_guessed(page, &block));
        }
        return;
    }
    ck_abort_msg("no page at a multiple of 4 GB is to be had");
}
END_TEST

SUPPORT_MAIN("usable_size", learnt_where_promised, zeros_are_no_seal, not_learnt_where_it_varies,
             not_learnt_where_the_seal_says_more, seals_of_known_blocks_are_read,
             guessed_on_a_page_of_one_size, wrong_guesses_are_not_believed,
             noted_only_where_it_can_be_guessed)
