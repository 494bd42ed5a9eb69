#include "unwind.h"

#include <string.h>

#include "module_bytes.h"
#include "module_map.h"
#include "raw_io.h"
#include "stack_cache.h"
#include "walk_step.h"

/* Rules that were asked for again, over the whole run. */
#define MAX_RETRIES 1000u
static unsigned retries;

bool ht_unwind_begin(void)
{
    int error = unwind_rule_open();
    if (error)
        ht_say("libunwind-x86_64.so.8 cannot be used (%s): call sites are the immediate caller "
               "only; install libunwind8",
               ht_error_words(-error));
    return error == 0;
}

/* The copy of a stack that a capture holds, as a stepper's context. */
static bool read_copy(void *context, uintptr_t address, uintptr_t *word)
{
    const struct ht_capture *capture = context;
    uintptr_t offset = address - capture->at.sp;
    if (offset % 8 || offset + sizeof *word > capture->stack_bytes || offset > HT_CAPTURE_BYTES)
        return false;
    memcpy(word, capture->stack + offset, sizeof *word);
    return true;
}

/* Frames that no stack has led to yet are made no longer once the table is that full: it is there
 * for those that are needed. Larger segments are laid for those alone (at half of the last one);
 * only the first is small enough to be filled by what may never come. */
static bool may_expect(void)
{
    unsigned last = ht_intern_segments(&ht_frames) - 1; /* there are frames: it is laid */
    const struct ht_intern_segment *segment = &ht_frames.segments[last];
    return segment->used < segment->size / 8 * (last == 0 ? 6 : 3);
}

/* A rule that nobody has asked for yet: the function it is of has been come upon, and its other
 * calls will be. Whoever does is spared to ask. The modules are held. */
static void expect(uint64_t pc, const struct unwind_rule *rule)
{
    if (!may_expect())
        return;
    uint32_t frame = ht_frame_intern((uintptr_t)pc);
    if (frame == HT_INTERN_FULL)
        return;
    uint64_t *slot = ht_frame_rule(frame), known = __atomic_load_n(slot, __ATOMIC_RELAXED);
    if (known == 0 || known == HT_RULE_PENDING)
        __atomic_store_n(slot, unwind_rule_pack(rule), __ATOMIC_RELEASE);
}

/* Finds and publishes the rule of a frame; what is known already stays. The modules are held, but
 * not all the time: where one is missing, some may close, and the frame die. */
static uint64_t rule_of(uint32_t frame)
{
    uint64_t *slot = ht_frame_rule(frame), known = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (known != 0 && known != HT_RULE_PENDING)
        return known;
    uintptr_t pc = ht_frame_pc(frame);
    struct ht_module *module = ht_module_of(pc);
    if (!module) {
        ht_modules_release();
        ht_modules_refresh(true);
        ht_modules_hold();
        module = ht_module_of(pc);
    }
    struct unwind_rule rule;
    int error = unwind_rule_find_around(module ? &module->unwind : NULL, pc, &rule,
                                        may_expect() ? expect : NULL);
    uint64_t packed = unwind_rule_pack(&rule);
    /* A file that cannot be read now may be readable later: asked again, a bounded number of times.
     */
    bool ask_again = error < 0 && retries < MAX_RETRIES;
    retries += ask_again;
    __atomic_store_n(slot, ask_again ? 0 : packed, __ATOMIC_RELEASE);
    return packed;
}

/* A module has gone away since the walk began. Another one may have its addresses by now, so that
 * nothing can be said any more of what the copy holds. */
static bool is_void(const struct ht_capture *capture)
{
    return __atomic_load_n(&ht_memo_generation, __ATOMIC_ACQUIRE) != capture->generation;
}

/* Gives up on a capture. The rule that it was about is found all the same where the frame lives on:
 * it does not depend on the copy, and a program that loads and unloads for ever, faster than its
 * captures are worked off, would else never get to know its own frames. */
static uint32_t discard(const struct ht_capture *capture)
{
    uint32_t frame = capture->frames[capture->frame_count - 1];
    if (!(ht_intern_key(&ht_frames, frame) & HT_FRAME_DEAD))
        rule_of(frame);
    return capture->fallback;
}

/* Walks on to the end of the stack; the site, or the fallback where the copy does not reach, or the
 * rules alone were wanted. The modules are held. */
static uint32_t resolve(struct ht_capture *capture)
{
    const struct ht_stepper stepper = {read_copy, ht_ignore_word, ht_ignore_fp, ht_ignore_word,
                                       capture};
    struct ht_walk walk = capture->at;
    uint32_t *frames = capture->frames;
    unsigned count = capture->frame_count;
    enum ht_step step;
    if (is_void(capture))
        return discard(capture);
    for (;;) {
        step = ht_walk_step(&walk, rule_of(frames[count - 1]), &stepper);
        if (is_void(capture)) /* finding the rule has brought it to light */
            return discard(capture);
        if (step != HT_STEP_GOES_ON || count == HT_MAX_DEPTH)
            break;
        uint32_t frame = ht_frame_intern(walk.pc);
        if (frame == HT_INTERN_FULL)
            return capture->fallback;
        frames[count++] = frame;
    }
    if (step == HT_STEP_OUT_OF_REACH || capture->rules_only)
        return capture->fallback;
    uint32_t root = step == HT_STEP_WHOLE ? HT_STACK_WHOLE : HT_STACK_CUT;
    return ht_site_intern(ht_stack_intern(root, frames, count), capture->tag);
}

/* Some slots may be without a provisional id. */
static bool unstocked;

static bool is_ready(const struct ht_capture *capture)
{
    return __atomic_load_n(&capture->state, __ATOMIC_ACQUIRE) == HT_CAPTURE_READY;
}

/* Captures whose rule is found, and whose stack has not been gone through: a bit for each slot. */
static uint64_t answered[HT_CAPTURE_WORDS];

/* Finds the rule that a capture asks for, before any stack is gone through: with it the program's
 * threads find their own way. */
static void answer(const struct ht_capture *capture)
{
    ht_modules_hold();
    if (!is_void(capture))
        rule_of(capture->frames[capture->frame_count - 1]);
    ht_modules_release();
}

/* Answers all captures that are new. Whether there are any now that are answered. */
static bool answer_new(void)
{
    bool any = false, refreshed = false;
    for (unsigned word = 0; word < HT_CAPTURE_WORDS; word++) {
        uint64_t fresh =
            __atomic_load_n(&ht_captures_taken[word], __ATOMIC_RELAXED) & ~answered[word];
        for (; fresh; fresh &= fresh - 1) {
            const struct ht_capture *capture =
                ht_captures[64 * word + (unsigned)__builtin_ctzll(fresh)];
            if (!is_ready(capture))
                continue;
            if (!refreshed)
                ht_modules_refresh(false);
            refreshed = true;
            answer(capture);
            answered[word] |= fresh & -fresh;
        }
        any |= answered[word] != 0;
    }
    return any;
}

void ht_unwind_answer(void)
{
    answer_new();
}

/* Captures that are gone through in one turn, so that it comes to an end while new ones come. */
#define MAX_DRAINED HT_CAPTURE_SLOTS

static void drain_one(unsigned i, ht_unwind_done *done, uint32_t (*take)(void))
{
    struct ht_capture *capture = ht_captures[i];
    ht_modules_hold();
    uint32_t site = resolve(capture);
    ht_modules_release();
    if (!capture->rules_only) {
        done(capture->provisional, site);
        capture->provisional = take();
        unstocked |= !capture->provisional;
    }
    answered[i / 64] &= ~(UINT64_C(1) << i % 64);
    ht_capture_give_back(i);
}

unsigned ht_unwind_drain(ht_unwind_done *done, uint32_t (*take)(void))
{
    unsigned drained = 0;
    for (; drained < MAX_DRAINED && answer_new(); drained++) {
        unsigned word = 0;
        while (!answered[word])
            word++;
        drain_one(64 * word + (unsigned)__builtin_ctzll(answered[word]), done, take);
    }
    return drained;
}

void ht_unwind_stock(uint32_t (*take)(void))
{
    static uint32_t stocked; /* slots that there were at the last time */
    if (!unstocked && stocked == ht_capture_count)
        return;
    unstocked = false;
    stocked = ht_capture_count;
    for (unsigned i = 0; i < ht_capture_count; i++) {
        struct ht_capture *capture = ht_captures[i];
        uint32_t free = HT_CAPTURE_FREE;
        if (capture->provisional)
            continue;
        if (__atomic_compare_exchange_n(&capture->state, &free, HT_CAPTURE_FILLING, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            capture->provisional = take();
            __atomic_store_n(&capture->state, HT_CAPTURE_FREE, __ATOMIC_RELEASE);
        }
        unstocked |= !capture->provisional;
    }
}
