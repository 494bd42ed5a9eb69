/*
 * Remembered stacks against a model: random stacks of made-up functions, walked by rules; a thread
 * with a memo of a few records, overwritten all the time. What is found must be the stack that a
 * plain walk gives, each time.
 */
#ifndef TESTS_PRELOAD_MEMO_MODEL_H
#define TESTS_PRELOAD_MEMO_MODEL_H

#include "../../preload/stack_cache.h"

#define MEMO_WORDS 400

/* Where the stacks are laid. */
extern uint64_t memo_stack[MEMO_WORDS];

/* Where they lie. */
#define MEMO_CODE     0x400000u
#define MEMO_CODE_END (MEMO_CODE + 4096u)

/* Makes the functions up and publishes their rules; after support_begin. Again, with the same
 * random numbers, once their frames have died. */
void memo_functions(uint64_t *random);

/* A thread with a memo of so many words, never freed. */
struct ht_thread *memo_thread(uint32_t memo_words, void *allocate(size_t bytes, size_t alignment));

/* The usual `allocate`: what reaches beyond it is seen by the sanitizer. */
void *memo_heap(size_t bytes, size_t alignment);

/* What the quick way finds under the thread's tag: the site, or HT_NO_SITE. */
static inline uint32_t memo_quick(struct ht_thread *thread, ht_entry entry)
{
    uint32_t site;
    return ht_memo_find(thread, entry, ht_self_tag_key, &site) ? site : HT_NO_SITE;
}

/*
 * Lays frames outwards from word `at` of the stack, and says of which functions (into `walked`, of
 * HT_MAX_DEPTH entries); the rest of the stack keeps what earlier stacks left there. Returns the
 * frame pointer at entry.
 */
uintptr_t memo_lay(uint64_t *random, unsigned at, unsigned *walked, unsigned *count);

/* Plays the rounds, in a thread whose stack's bounds are known or not; fails the running test where
 * a site is not the model's. */
void memo_stress(bool known_stack, uint32_t memo_words);

#endif
