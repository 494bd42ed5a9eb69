/*
 * Walks a thread's own stack by known rules: to a site, or to a frame whose rule the monitor has to
 * find. Where it comes to stand as the walk before did, and nothing further out has changed, the
 * rest is taken over from that one: walk_log.h says why that is the same stack.
 */
#include <string.h>
#include <sys/auxv.h>

#include "heaptally/options.h"
#include "stack_bounds.h"
#include "stack_cache.h"
#include "walk_step.h"

/* On a stack whose extent is unknown a frame is not believed to be larger than this. */
#define MAX_UNKNOWN_REACH ((uintptr_t)1 << 20)

struct walk {
    struct ht_thread *thread;
    struct ht_walk_log *log;
    ht_entry entry;
    uint64_t generation; /* ht_memo_generation when the walk began */
    uintptr_t limit;     /* addresses from here on are not read */
    struct ht_walk at;
    uintptr_t fp_at;    /* where at.fp was restored from, 0: it is that at entry */
    unsigned steps;     /* gathered, at the end of the log's */
    unsigned words;     /* gathered, at the end of the log's */
    unsigned ahead;     /* logged steps that the walk may still come to */
    bool known_stack;   /* all up to the limit stays mapped as long as the thread lives */
    bool uses_entry_fp; /* a frame hangs on the frame pointer at entry */
    bool compared;      /* the words of the logged steps ahead are what they were */
    bool unnoted;       /* not all that steps relied upon could be noted */
    bool unproven;      /* where it stands does not say alone how it goes on */
};

static void begin(struct walk *walk, struct ht_thread *thread, ht_entry entry)
{
    uintptr_t sp = ht_entry_sp(entry);
    ht_thread_find_bounds(thread);
    bool known = ht_is_own_stack(thread, sp);
    *walk = (struct walk){
        .thread = thread,
        .log = &thread->walk_log,
        .entry = entry,
        .generation = __atomic_load_n(&ht_memo_generation, __ATOMIC_ACQUIRE),
        .limit = known ? thread->stack_high : sp + MAX_UNKNOWN_REACH,
        .at = {ht_entry_pc(entry), sp, ht_entry_fp(entry), true},
        .known_stack = known,
    };
    if (known && walk->log->generation == walk->generation)
        walk->ahead = walk->log->kept;
}

/* ---- what steps rely upon -----------------------------------------------------------------------
 */

/* Gives up logged steps, but for the outermost `steps`. */
static void keep_only(struct walk *walk, unsigned steps)
{
    walk->log->kept = steps;
    if (walk->ahead > steps)
        walk->ahead = steps;
}

static unsigned words_of(const struct ht_walk_log *log, unsigned steps)
{
    return steps ? log->steps[steps - 1].words : 0;
}

static void note_word(void *context, uintptr_t address, uintptr_t word)
{
    struct walk *walk = context;
    struct ht_walk_log *log = walk->log;
    if (walk->words == HT_WALK_WORDS) {
        walk->unnoted = walk->unproven = true;
        return;
    }
    unsigned place = HT_WALK_WORDS - ++walk->words;
    while (__builtin_expect(words_of(log, log->kept) > place, 0))
        keep_only(walk, log->kept - 1);
    log->words[place] = (struct ht_stack_word){address, word};
}

static void note_fp_used(void *context)
{
    struct walk *walk = context;
    if (walk->fp_at)
        note_word(walk, walk->fp_at, walk->at.fp);
    else
        walk->uses_entry_fp = true;
}

static void note_fp_moved(void *context, uintptr_t address, uintptr_t value)
{
    struct walk *walk = context;
    (void)value;
    walk->fp_at = address;
}

static bool read_word(void *context, uintptr_t address, uintptr_t *word)
{
    struct walk *walk = context;
    /* What lies further in is reached or not depending on where the walk began. */
    walk->unproven |= address < walk->at.sp;
    if (address < ht_entry_sp(walk->entry) || address > walk->limit - sizeof *word || address % 8)
        return false;
    *word = *(const uintptr_t *)address;
    return true;
}

/* Notes where the walk stands. */
static struct ht_logged_step *gather_step(struct walk *walk, uint32_t frame)
{
    unsigned place = HT_MAX_DEPTH - ++walk->steps;
    if (walk->log->kept > place)
        keep_only(walk, place);
    struct ht_logged_step *step = &walk->log->steps[place];
    *step = (struct ht_logged_step){
        .pc = walk->at.pc,
        .sp = walk->at.sp,
        .fp = walk->at.fp,
        .fp_at = walk->fp_at,
        .frame = frame,
        .words = (uint16_t)walk->words,
        .fp_known = walk->at.fp_known,
    };
    return step;
}

/* ---- the log ------------------------------------------------------------------------------------
 */

/* Whether the words of the outermost `steps` of the log are what they were. If not, those that have
 * changed are no longer ahead. Compared once: from there on out they are equal. */
static bool words_hold(struct walk *walk, unsigned steps)
{
    const struct ht_walk_log *log = walk->log;
    unsigned count = words_of(log, steps), equal = 0;
    if (walk->compared)
        return true;
    while (equal < count &&
           *(const uintptr_t *)log->words[equal].address == log->words[equal].value)
        equal++;
    while (words_of(log, walk->ahead) > equal)
        walk->ahead--;
    walk->compared = true;
    return equal == count;
}

/* Whether the walk stands where a logged step stood, and goes on from there as that one did; if so,
 * the outermost `ahead` steps are those that remain. */
static bool comes_to_log(struct walk *walk)
{
    const struct ht_logged_step *steps = walk->log->steps;
    unsigned ahead = walk->ahead;
    while (ahead > 0 && steps[ahead - 1].sp < walk->at.sp)
        ahead--;
    walk->ahead = ahead;
    const struct ht_logged_step *step = steps + (ahead > 0 ? ahead - 1 : 0);
    if (ahead == 0 || step->sp != walk->at.sp || step->pc != walk->at.pc)
        return false;
    if (step->needs_fp &&
        (step->fp_known != walk->at.fp_known ||
         (step->fp_known && (step->fp != walk->at.fp || step->fp_at != walk->fp_at))))
        return false;
    if (!words_hold(walk, ahead))
        return false;
    walk->uses_entry_fp |= step->needs_fp && step->fp_known && !step->fp_at;
    return true;
}

/* Has the nodes of what was gathered fetched, behind the outermost `base` steps: each is a cache
 * miss, and looked up one after the other they would be waited for one after the other. */
static void fetch_nodes(struct walk *walk, unsigned base)
{
    struct ht_walk_log *log = walk->log;
    uint32_t hash = base ? log->steps[base - 1].hash : log->root;
    for (unsigned i = HT_MAX_DEPTH - walk->steps; i < HT_MAX_DEPTH; i++) {
        hash = ht_stack_hash(hash, log->steps[i].frame);
        log->steps[i].hash = hash;
        ht_intern_fetch_all(&ht_stacks, hash);
    }
}

/* Moves what was gathered to behind the outermost `base` steps, and finds its stacks, from the
 * outside in: what has the same frames as before need not be looked up. The whole stack, or
 * HT_INTERN_FULL. */
static uint32_t extend_log(struct walk *walk, unsigned base)
{
    struct ht_walk_log *log = walk->log;
    unsigned words = words_of(log, base) + walk->words, from = HT_MAX_DEPTH - walk->steps;
    memmove(log->words + words - walk->words, log->words + HT_WALK_WORDS - walk->words,
            walk->words * sizeof *log->words);
    fetch_nodes(walk, base);
    uint32_t stack = base ? log->steps[base - 1].stack : log->root;
    bool same = true, needs_fp = base && log->steps[base - 1].needs_fp;
    for (unsigned i = 0; i < walk->steps; i++) {
        struct ht_logged_step *place = &log->steps[base + i];
        const struct ht_logged_step *step = &log->steps[from + i];
        same = same && base + i < log->kept && place->frame == step->frame;
        stack = same ? place->stack : ht_stack_push(stack, step->frame, step->hash);
        if (stack == HT_INTERN_FULL) {
            log->kept = base + i;
            return stack;
        }
        *place = *step;
        place->stack = stack;
        place->words = (uint16_t)(words - step->words);
        needs_fp = step->needs_fp || (step->passes_fp && needs_fp);
        place->needs_fp = needs_fp;
    }
    log->kept = base + walk->steps;
    return stack;
}

/* The stack of a walk that has come to its end, or to `base` logged steps. */
static uint32_t finish(struct walk *walk, uint32_t root, unsigned base)
{
    struct ht_walk_log *log = walk->log;
    if (base == 0 && log->root != root) {
        log->root = root;
        log->kept = 0;
    }
    uint32_t stack = extend_log(walk, base);
    bool proven = walk->known_stack && !walk->unproven;
    log->generation = proven ? walk->generation : HT_LOG_UNPROVEN;
    return stack;
}

/* Where the program's own code is entered, and no later than where the frame that it makes ends. */
#define ENTRY_CODE_BYTES 64u

/*
 * Words that need no comparing: a stack that ends in the program's entry code ends in
 *   main, libc's caller of main, libc's start function, entry code
 * and the last two calls are made once in the life of the process. So if main returns to where it
 * did, which is compared, the two return addresses further out are what they were.
 */
static unsigned constant_words(const struct ht_walk_log *log, unsigned words)
{
    static uintptr_t entry_code;
    if (!entry_code)
        entry_code = getauxval(AT_ENTRY);
    uintptr_t outermost_pc = log->steps[0].pc;
    bool ends_there = log->root == HT_STACK_WHOLE && words > 2 &&
                      outermost_pc - entry_code < ENTRY_CODE_BYTES &&
                      log->words[0].value == outermost_pc;
    return ends_there ? 2 : 0;
}

/* A tag alone says, unless it is all that is asked for, that a table was full: it may have grown by
 * the next time. */
static bool may_be_remembered(uint32_t site)
{
    return site >= HT_SITE_BASE || ht_stacks_mode == HT_STACKS_OFF;
}

static void remember(const struct walk *walk, uint32_t site, uint32_t tag)
{
    const struct ht_walk_log *log = walk->log;
    unsigned words = words_of(log, log->kept);
    unsigned constant = constant_words(log, words);
    struct ht_finding finding = {
        .entry = walk->entry,
        .tag = tag,
        .site = site,
        .generation = walk->generation,
        .known_stack = walk->known_stack,
        .uses_fp = walk->uses_entry_fp,
        .words = log->words + constant,
        .count = words - constant,
    };
    if (!walk->unnoted && may_be_remembered(site))
        ht_memo_remember(walk->thread, &finding);
}

/* ---- frames whose rule is not known ---------------------------------------------------------- */

/* How far outwards from `sp` the stack may be copied: to its end where that is known, else to the
 * end of the page that holds the last word known to be there, just below `sp`. */
static uintptr_t copy_limit(const struct ht_thread *thread, uintptr_t sp)
{
    return ht_is_own_stack(thread, sp) ? thread->stack_high : ((sp - 1) | 4095) + 1;
}

/* Where a walk stands, and the stack from there on, though not beyond `limit`. */
static void copy_stack(struct ht_capture *slot, const struct ht_walk *at, uintptr_t limit)
{
    uintptr_t bytes = limit - at->sp;
    slot->at = *at;
    slot->stack_bytes = bytes < HT_CAPTURE_BYTES ? (uint32_t)bytes : HT_CAPTURE_BYTES;
    memcpy(slot->stack, (const void *)at->sp, slot->stack_bytes);
}

/* Asks the monitor to go on from the unknown frame, the last that was gathered; the provisional
 * site of the allocation, or `fallback`. */
static uint32_t capture(const struct walk *walk, uint32_t fallback, uint32_t tag)
{
    struct ht_thread *thread = walk->thread;
    const struct ht_logged_step *steps = walk->log->steps;
    struct ht_capture *slot = ht_capture_claim(thread->tid);
    if (!slot) {
        uint64_t pending = HT_RULE_PENDING;
        __atomic_compare_exchange_n(ht_frame_rule(steps[HT_MAX_DEPTH - walk->steps].frame),
                                    &pending, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        return fallback;
    }
    copy_stack(slot, &walk->at, copy_limit(thread, walk->at.sp));
    for (unsigned i = 0; i < walk->steps; i++)
        slot->frames[i] = steps[HT_MAX_DEPTH - 1 - i].frame;
    slot->frame_count = walk->steps;
    slot->generation = walk->generation;
    slot->tag = tag;
    slot->fallback = fallback;
    slot->rules_only = false;
    uint32_t provisional = slot->provisional;
    if (provisional)
        ht_provisional_tags[provisional - HT_PROVISIONAL_BASE] =
            (uint16_t)(tag | HT_PROVISIONAL_USED);
    __atomic_store_n(&slot->state, HT_CAPTURE_READY, __ATOMIC_RELEASE);
    thread->asking = 0;
    return provisional ? provisional : fallback;
}

/* The rule of a frame, or 0 or HT_RULE_PENDING: 0 to the one caller that has to see to it. */
static uint64_t rule_or_claim(struct ht_thread *thread, uint32_t frame)
{
    uint64_t *slot = ht_frame_rule(frame), rule = __atomic_load_n(slot, __ATOMIC_RELAXED);
    if (rule == 0) {
        thread->asking = frame;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        __atomic_compare_exchange_n(slot, &rule, HT_RULE_PENDING, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    }
    return rule;
}

/* ---- entries that were left ----------------------------------------------------------------- */

struct own_stack {
    uintptr_t low, high;
};

static bool read_own_stack(void *context, uintptr_t address, uintptr_t *word)
{
    const struct own_stack *stack = context;
    if (address < stack->low || address > stack->high - sizeof *word || address % 8)
        return false;
    *word = *(const uintptr_t *)address;
    return true;
}

/*
 * Asks for the rule of a frame that nobody asks for, on behalf of no allocation. Whatever was
 * interrupted goes on as if this had not been: of the thread's fields none is written; the slot is
 * another one than it may be filling; and the rule is not marked as pending, since it may be that
 * this is left as well, before the slot is ready: it is asked for again, then. (Where it is marked,
 * by a thread that was left before its slot was ready, or will be in a moment: once more does no
 * harm.)
 */
static void ask_aside(const struct ht_thread *thread, uint32_t frame, const struct ht_walk *at,
                      uintptr_t limit, uint64_t generation)
{
    struct ht_capture *slot = ht_capture_brings(frame) ? NULL : ht_capture_claim(thread->tid);
    if (!slot)
        return;
    copy_stack(slot, at, limit);
    slot->frames[0] = frame;
    slot->frame_count = 1;
    slot->generation = generation;
    slot->rules_only = true;
    __atomic_store_n(&slot->state, HT_CAPTURE_READY, __ATOMIC_RELEASE);
}

/* Frames that the way to the outermost one may have. */
#define MAX_WAY_OUT 1024u

/* The least that a stack has on which something allocates, is interrupted and goes on later: a walk
 * alone, and each stack begins with one, takes more. A frame that is smaller has none among its
 * variables. */
#define LEAST_STACK ((uintptr_t)512)

/* Writes nothing of the thread's: it may run in a handler while the thread beneath is counting
 * after all. */
bool ht_counting_is_over(const struct ht_thread *thread, ht_entry entry)
{
    uint64_t generation = __atomic_load_n(&ht_memo_generation, __ATOMIC_ACQUIRE);
    uintptr_t counted_at = (uintptr_t)thread->busy;
    struct own_stack stack;
    struct ht_walk walk = {ht_entry_pc(entry), ht_entry_sp(entry), ht_entry_fp(entry), true};
    if (ht_stacks_mode != HT_STACKS_FULL || __atomic_load_n(&ht_memo_unanswered, __ATOMIC_RELAXED))
        return false; /* there are no rules, and there is nobody to ask */
    if (!ht_thread_see_bounds(thread, &stack.low, &stack.high) || walk.sp < stack.low ||
        walk.sp >= stack.high || counted_at < stack.low || counted_at >= stack.high)
        return false;
    const struct ht_stepper stepper = {read_own_stack, ht_ignore_word, ht_ignore_fp, ht_ignore_word,
                                       &stack};
    stack.low = walk.sp;
    /* What was there has been overwritten: by our own frames, or by small ones of the program. */
    bool gone = counted_at >= (uintptr_t)__builtin_frame_address(0) && counted_at < walk.sp;
    enum ht_step step = HT_STEP_GOES_ON;
    for (unsigned count = 0; step == HT_STEP_GOES_ON && count < MAX_WAY_OUT; count++) {
        uint32_t frame = ht_frame_intern(walk.pc);
        if (frame == HT_INTERN_FULL)
            return false;
        uint64_t rule = __atomic_load_n(ht_frame_rule(frame), __ATOMIC_ACQUIRE);
        if (rule == 0 || rule == HT_RULE_PENDING) {
            ask_aside(thread, frame, &walk, stack.high, generation);
            return false;
        }
        uintptr_t low = walk.sp;
        step = ht_walk_step(&walk, rule, &stepper);
        gone |= counted_at >= low && counted_at < walk.sp && walk.sp - low < LEAST_STACK;
    }
    return gone && step == HT_STEP_WHOLE && ht_stack_begins_at(stack.high, walk.sp);
}

/* ---- the walk -----------------------------------------------------------------------------------
 */

/* Whether the step from a frame hangs on its frame pointer, and whether its caller has the same. */
static void note_rule(struct ht_logged_step *step, uint64_t packed)
{
    struct unwind_rule rule = unwind_rule_unpack(packed);
    bool steps = rule.kind == UNWIND_STEP;
    step->needs_fp =
        steps && (rule.cfa_base != UNWIND_CFA_SP || rule.rbp_kind == UNWIND_RBP_AT_RBP);
    step->passes_fp = steps && rule.rbp_kind == UNWIND_RBP_SAME;
}

/* Remembers an allocation by its return address and its scope alone. The address stands in the
 * entry's own record, so that no care is needed on any stack. */
static void remember_alone(struct ht_thread *thread, ht_entry entry, uint32_t site, uint32_t tag)
{
    struct ht_finding finding = {
        .entry = entry,
        .tag = tag,
        .site = site,
        .generation = __atomic_load_n(&ht_memo_generation, __ATOMIC_ACQUIRE),
        .known_stack = true,
        .words = thread->walk_log.words, /* none of them */
    };
    ht_memo_remember(thread, &finding);
}

/* What an allocation is known by without a walk. */
static uint32_t site_unwalked(ht_entry entry, uint32_t tag)
{
    uint32_t frame = HT_INTERN_FULL;
    if (ht_stacks_mode == HT_STACKS_OFF)
        return tag;
    if (ht_stacks_mode == HT_STACKS_SITE)
        frame = ht_frame_intern(ht_entry_pc(entry));
    return frame == HT_INTERN_FULL ? ht_site_fallback(ht_entry_pc(entry), tag)
                                   : ht_site_intern(ht_stack_alone(HT_STACK_CUT, frame), tag);
}

/* The site of an allocation while nobody answers. */
static uint32_t site_unanswered(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uint64_t generation = __atomic_load_n(&ht_memo_generation, __ATOMIC_ACQUIRE);
    uint32_t site;
    if (ht_caller_find(thread, entry, ht_memo_tag_key(tag), &site))
        return site;
    site = site_unwalked(entry, tag);
    if (may_be_remembered(site))
        ht_caller_remember(thread, entry, tag, site, generation);
    return site;
}

uint32_t ht_site_walk(struct ht_thread *thread, ht_entry entry, uint32_t tag)
{
    uintptr_t first_pc = ht_entry_pc(entry);
    if (__atomic_load_n(&ht_memo_unanswered, __ATOMIC_RELAXED))
        return site_unanswered(thread, entry, tag);
    if (ht_stacks_mode != HT_STACKS_FULL) {
        uint32_t site = site_unwalked(entry, tag);
        if (may_be_remembered(site))
            remember_alone(thread, entry, site, tag);
        return site;
    }

    struct walk walk;
    begin(&walk, thread, entry);
    const struct ht_stepper stepper = {read_word, note_word, note_fp_used, note_fp_moved, &walk};
    enum ht_step step = HT_STEP_GOES_ON;
    unsigned base = 0;
    while (step == HT_STEP_GOES_ON && walk.steps < HT_MAX_DEPTH) {
        if (comes_to_log(&walk)) {
            base = walk.ahead;
            break;
        }
        uint32_t frame = ht_frame_intern(walk.at.pc);
        if (frame == HT_INTERN_FULL)
            return ht_site_fallback(first_pc, tag);
        struct ht_logged_step *logged = gather_step(&walk, frame);
        uint64_t rule = rule_or_claim(thread, frame);
        if (rule == 0)
            return capture(&walk, ht_site_fallback(first_pc, tag), tag);
        if (rule == HT_RULE_PENDING)
            return ht_site_fallback(first_pc, tag);
        note_rule(logged, rule);
        step = ht_walk_step(&walk.at, rule, &stepper);
    }
    uint32_t root = step == HT_STEP_WHOLE ? HT_STACK_WHOLE : HT_STACK_CUT;
    if (base > 0)
        root = walk.log->root;
    else if (step == HT_STEP_GOES_ON) /* cut for being deep, which depends on where it began */
        walk.unproven = true;
    uint32_t stack = finish(&walk, root, base);
    if (stack == HT_INTERN_FULL)
        return ht_site_fallback(first_pc, tag);
    uint32_t site = ht_site_intern(stack, tag);
    ht_cell_fetch(thread, site);
    remember(&walk, site, tag);
    return site;
}
