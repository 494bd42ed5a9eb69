/*
 * From an entry point to a site: the memo of this thread first, a walk by rules second.
 *
 * A memo record says: "called with this return address, at this stack pointer, under this tag,
 * and the words at these places of the stack are these, then the site is this". The words are
 * every return address of the stack, innermost first, and every saved frame pointer that a frame's
 * CFA hangs on. Where all agree it is the same stack, by induction: the frames found so far are
 * the same, so the next return address lies at the same place; that it also has the same value
 * makes the next frame the same. The words are compared in this order and the comparison stops at
 * the first that differs, since nothing is known of what is mapped beyond it.
 *
 *   record:  key    HT_MEMO_MARK | generation << 47 | entry (see arch.h), exclusive-or the tag's
 *                   (ht_memo_tag_key); two bits of its own say how it is compared
 *            site
 *            words  each with its distance from the entry: the return address and five others,
 *                   which are all in a short record; in a long one two more, and then what follows
 *                   in groups of four, so that many are fetched at a time. The last is repeated to
 *                   fill up. Those in no group lie within HT_MEMO_REACH: from the first on that
 *                   does not, all are in groups
 *
 * The entry is the stack pointer, but for a constant. Distances count from the record that the
 * entry point pushed, whose first word is the caller's frame pointer register: so that register,
 * where a frame hangs on it, is a word like the others.
 *
 * Where all words lie within the bounds of the thread's own stack, which stays mapped, they are
 * compared all at once. Else care is needed: they are compared in order. A bit of the key keeps
 * the quick way from such records.
 *
 * Records are written one after the other into a ring, at multiples of 16 bytes, and found through
 * two indexes by hash. An index entry may be out of date, but a record proves itself: bit 63 is set
 * in its key and in no other word, and as the ring is overwritten in order, a record whose key is
 * whole is whole.
 *
 * Many stacks may have one key: functions that everybody calls allocate at the same depth for
 * different callers. All of them are in the *tree*: where the record that a place leads to is of
 * another stack, the next place is told by the first word that differs and what stands there now.
 * The *quick index* has one record for a key, that which was found or written last: it is what the
 * short way of an allocation asks. From the entry to the first group of a record it is one chain of
 * loads, and its length is what an allocation on a deep stack takes: so the tag, which is known
 * late, comes in last, and the groups begin where a record without any would end.
 *
 * Whenever a module goes away, what was remembered before is void: a key holds the lowest bits of
 * how often that was, and before these come round to where they were, the indexes of every thread
 * are emptied. A record that was in the making meanwhile is withdrawn by the thread that made it.
 */
#ifndef HEAPTALLY_STACK_CACHE_H
#define HEAPTALLY_STACK_CACHE_H

#include "arch.h"
#include "site_table.h"

#define HT_MEMO_MARK            (UINT64_C(1) << 63)
#define HT_MEMO_GENERATION_AT   47
#define HT_MEMO_GENERATION_BITS 3
#define HT_MEMO_CARE            (UINT64_C(1) << 50)
#define HT_MEMO_LONG            (UINT64_C(1) << 51) /* not all words are near */
_Static_assert(HT_MEMO_CARE >> HT_MEMO_GENERATION_BITS == UINT64_C(1) << HT_MEMO_GENERATION_AT &&
                   HT_MEMO_LONG << 1 == UINT64_C(1) << HT_MEMO_TAG_AT,
               "no bit of the key has two meanings");
_Static_assert(HT_TAGS <= 1u << (63 - HT_MEMO_TAG_AT), "a tag fits in beside the mark");

#define HT_MEMO_TURNS 8u /* places that are tried on the way down the tree */
#define HT_MEMO_NEAR  5  /* words of a short record, and the return address */
#define HT_MEMO_ALONE 7  /* words that stand in no group, and the return address */
#define HT_MEMO_ALIGN 16

/* Of words in no group, in words from the entry: bit 63 of what holds four of them stays clear. */
#define HT_MEMO_REACH 0x8000u

/* Distances of 16 bits are in words. */
struct ht_memo_record {
    uint64_t key;
    uint64_t near; /* distances of the first four: see ht_five_words_equal */
    uint32_t site;
    uint16_t more[HT_MEMO_ALONE - 4];   /* distances of the fifth to the seventh */
    uint16_t far_bytes;                 /* of all groups */
    uint32_t unused;                    /* 0 */
    uint64_t values[1 + HT_MEMO_ALONE]; /* the return address and seven words */
    struct ht_word_group far[];
} __attribute__((aligned(HT_MEMO_ALIGN)));
_Static_assert(sizeof(struct ht_memo_record) == 96, "no word of a record is left unwritten");

/* Behind the last group. */
static inline const struct ht_word_group *ht_memo_far_end(const struct ht_memo_record *record)
{
    const void *end = (const char *)record->far + record->far_bytes;
    return end;
}

/* How often a module went away. */
extern uint64_t ht_memo_generation HT_HIDDEN;

/* What all keys of this generation have: HT_MEMO_MARK and the lowest bits of the generation. */
extern uint64_t ht_memo_mark HT_HIDDEN;

/* A module went away: what was remembered before is void. One thread at a time. */
void ht_memo_next_generation(void);

/*
 * A process that may soon be gone has no monitor yet. While nobody would answer captures, none is
 * made: every allocation is counted under its return address alone, and that is remembered
 * (caller_memo.h), where nobody looks once there are answers.
 */
extern bool ht_memo_unanswered HT_HIDDEN;
void ht_memo_await_answers(void);

/* From now on there are answers. By the first to give one, before it does; any thread. */
void ht_memo_expect_answers(void);

/* enum ht_stacks of heaptally/options.h. */
extern int ht_stacks_mode;

/* What a walk has found out, for a record. */
struct ht_finding {
    ht_entry entry;
    uint32_t tag, site;
    uint64_t generation;               /* ht_memo_generation when the walk began */
    bool known_stack;                  /* all words lie within the thread's own stack */
    bool uses_fp;                      /* a frame hangs on the frame pointer at entry */
    const struct ht_stack_word *words; /* what the walk relied upon, the innermost last */
    unsigned count;                    /* of these */
};

/* Finds the site of an allocation that was remembered by its return address alone. The thread is
 * HT_COUNTING. */
static inline bool ht_caller_find(struct ht_thread *thread, ht_entry entry, uint64_t tag_key,
                                  uint32_t *site)
{
    uint64_t key = ht_caller_key(entry, tag_key, ht_memo_mark);
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* as in ht_memo_find */
    const struct ht_caller_line *line = ht_caller_line(thread->callers, key);
    for (unsigned way = 0; way < HT_CALLER_WAYS; way++) {
        *site = line->ways[way].site;
        if (line->ways[way].key == key)
            return true;
    }
    return false;
}

/* Remembers it; `generation` is ht_memo_generation from before it was found out. The thread is
 * HT_COUNTING. */
void ht_caller_remember(struct ht_thread *thread, ht_entry entry, uint32_t tag, uint32_t site,
                        uint64_t generation);

/* Writes a record. The thread is HT_COUNTING. */
void ht_memo_remember(struct ht_thread *thread, const struct ht_finding *finding);

/* Walks the stack by rules, remembers what it found, asks the monitor where a rule is missing. The
 * thread is HT_COUNTING. */
uint32_t ht_site_walk(struct ht_thread *thread, ht_entry entry, uint32_t tag);

/*
 * Whether a thread that is marked as counting has left it for good: by siglongjmp out of a signal
 * handler that had interrupted it. `entry` is where it allocates now. True only if
 *   - the stack pointer at which it counted is on the thread's own stack, and so is the present
 *     one;
 *   - by known rules, ordinary calls lead from `entry` outwards to where libc, or the program's
 *     entry code, has begun that stack;
 *   - where it counted there are other frames now: our own, of this allocation, or on that way one
 *     of the program's that is too small to hold another stack.
 * Then no signal handler runs on this stack, nor has one been entered beside it: on the way out of
 * a handler the kernel's trampoline would be met. Nor is this a fiber's stack among the frames of
 * the thread's, which begins further in, or was that one. So nothing that was interrupted on it
 * will go on: what would go on needs the frames that it was interrupted in. Of a fiber, which has a
 * stack of its own, and of what it was in the middle of, nothing is claimed.
 *
 * It is never claimed where it may not be so, and so at times not where it is: not while the thread
 * allocates only further out than where it counted, since a coroutine may lie there that goes on;
 * and not while a frame of 512 bytes or more, an array say, covers that place. Until it allocates
 * deeper, or from elsewhere, what the thread allocates is known by its immediate return address.
 *
 * A rule that is missing on the way is asked for, so that it is found out a little later; where
 * nobody answers yet, once somebody does. Where there is no rule, for want of unwind information or
 * because call sites are not walked to (--stacks), it is never found out. The calling thread; may
 * be a handler that has interrupted the counting: nothing that this was in the middle of is
 * changed.
 */
bool ht_counting_is_over(const struct ht_thread *thread, ht_entry entry);

/* The key of a record that can be compared the quick way and is short. */
static inline uint64_t ht_memo_key(ht_entry entry, uint64_t tag_key, uint64_t mark)
{
    return mark ^ tag_key ^ (uintptr_t)entry;
}

/* Neighbouring return addresses and entries have different ones. */
static inline __attribute__((always_inline)) uint32_t ht_memo_hash(ht_entry entry)
{
    return ht_entry_pc_low(entry) + 8 * (uint32_t)(uintptr_t)entry;
}

/* What a hash leads to is told by the upper bits of this. */
static inline __attribute__((always_inline)) uint32_t ht_memo_mix(uint32_t hash)
{
    return hash * 0x9E3779B1u;
}

/* Where the quick index has a record. The scopes of one loop have different places. */
static inline __attribute__((always_inline)) int32_t *ht_memo_slot(struct ht_thread *thread,
                                                                   ht_entry entry, uint64_t tag_key)
{
    uint32_t mixed = ht_memo_mix(ht_memo_hash(entry)) ^ (uint32_t)tag_key;
    return &thread->memo_index[mixed >> (32 - HT_MEMO_INDEX_BITS)];
}
_Static_assert(HT_TAGS <= 1u << HT_MEMO_INDEX_BITS, "each tag has places of its own");

/* The record at a place that an index has. */
static inline __attribute__((always_inline)) const struct ht_memo_record *
ht_memo_record_at(struct ht_thread *thread, int32_t place)
{
    const void *record = (const uint64_t *)(const void *)thread + place;
    return record;
}

/* The record that the quick index has for an allocation, whatever it is of. */
static inline __attribute__((always_inline)) const struct ht_memo_record *
ht_memo_at(struct ht_thread *thread, ht_entry entry, uint64_t tag_key)
{
    return ht_memo_record_at(thread, *ht_memo_slot(thread, entry, tag_key));
}

/* Whether the words of a short record are those of the stack. */
static inline __attribute__((always_inline)) bool ht_memo_equal(const struct ht_memo_record *record,
                                                                ht_entry entry)
{
    return ht_five_words_equal(entry, record->values, record->near, record->more[0]);
}

/* The same of a long one. */
static inline __attribute__((always_inline)) bool
ht_memo_long_equal(const struct ht_memo_record *record, ht_entry entry)
{
    return ht_seven_words_equal(entry, record->values, record->near, record->more) &&
           (!record->far_bytes ||
            ht_word_groups_equal(entry, record->far, ht_memo_far_end(record)));
}

/* Finds the site of an allocation under a tag, given by ht_memo_tag_key; false where there is no
 * record, or none that can be compared the quick way. The thread is HT_COUNTING. */
static inline __attribute__((always_inline)) bool
ht_memo_find(struct ht_thread *thread, ht_entry entry, uint64_t tag_key, uint32_t *site)
{
    uint64_t key = ht_memo_key(entry, tag_key, ht_memo_mark);
    /* The mark first: while this goes on, others may raise it and empty the indexes. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    const struct ht_memo_record *record = ht_memo_at(thread, entry, tag_key);
    if (__builtin_expect(record->key == key, 1)) {
        *site = record->site;
        return ht_memo_equal(record, entry);
    }
    __asm__("" : "+r"(record)); /* else its key would take a register, and an instruction, above */
    *site = record->site;
    return record->key == (key ^ HT_MEMO_LONG) && ht_memo_long_equal(record, entry);
}

/* The same for all records, compared in order, and what is found is the next to be found the quick
 * way: the site or HT_NO_SITE. */
uint32_t ht_memo_find_with_care(struct ht_thread *thread, ht_entry entry, uint32_t tag);

/* The site of an allocation. The thread is HT_COUNTING. */
static inline uint32_t ht_site_find(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uint32_t site = ht_memo_find_with_care(thread, entry, tag);
    return site != HT_NO_SITE ? site : ht_site_walk(thread, entry, tag);
}

#endif
