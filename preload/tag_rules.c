#include "tag_rules.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frame_info.h"
#include "frame_table.h"
#include "heaptally/snapshot_format.h"
#include "heaptally/tagging.h"
#include "internal_heap.h"
#include "module_bytes.h"
#include "module_map.h"
#include "raw_io.h"
#include "symbol_scan.h"
#include "tag.h"

#define RULES_FILE_MAX (64 << 10)

static struct ht_rule *rules; /* room for `rule_room` of them: most processes have few or none */
static unsigned rule_count, rule_room;
static bool names_needed;
static uint32_t runtime_tag, anon_tag;
static ht_demangler *demangle;

/* ---- reading rules ------------------------------------------------------------------------------
 */

static bool make_room(void)
{
    unsigned room = rule_room ? 2 * rule_room : 8;
    struct ht_rule *larger = ht_heap_alloc(room * sizeof *larger, 16);
    if (!larger)
        return false;
    if (rule_count)
        memcpy(larger, rules, rule_count * sizeof *rules);
    ht_heap_free(rules);
    rules = larger;
    rule_room = room;
    return true;
}

static void add_rule(const char *item, size_t length, bool construct)
{
    size_t name;
    if (rule_count == HT_MAX_RULES) {
        ht_say("%.*s: more than %d rules; the rest is left out", (int)length, item, HT_MAX_RULES);
        return;
    }
    if (rule_count == rule_room && !make_room())
        return;
    struct ht_rule *rule = &rules[rule_count];
    if (!ht_rule_parse(item, length, construct, &name, rule)) {
        ht_say("%.*s: is not NAME=PATTERN; the rule is left out", (int)length, item);
        return;
    }
    rule_count++;
    rule->tag = ht_tag_intern(item, name, HTL_TAG_RULE);
    names_needed |= rule->kind == HT_RULE_FUNCTION;
    if (construct) /* counted from now on, also while it is 0 */
        __atomic_fetch_or(&ht_tag(rule->tag)->counted, HT_TAG_COUNTS_INSTANTIATIONS,
                          __ATOMIC_RELAXED);
}

static void add_list(const char *text, bool construct)
{
    const char *item;
    size_t length;
    while (text && (item = ht_option_next_item(&text, &length)))
        add_rule(item, length, construct);
}

static void add_file(const char *path)
{
    char *text = ht_heap_alloc(RULES_FILE_MAX, 16);
    long length = text ? ht_read_file(path, text, RULES_FILE_MAX) : -1;
    if (length < 0) {
        ht_say(
            "HEAPTALLY_TAG_FILE: \"%s\" cannot be read; its rules are left out. Name another file "
            "with --tag-file",
            path);
        ht_heap_free(text);
        return;
    }
    const char *line, *cursor = text;
    size_t line_length;
    while ((line = ht_rule_next_line(&cursor, &line_length)))
        add_rule(line, line_length, false);
    ht_heap_free(text);
}

void ht_rules_begin(const struct ht_settings *settings)
{
    runtime_tag = ht_tag_intern(HT_TAG_RUNTIME, strlen(HT_TAG_RUNTIME), HTL_TAG_RUNTIME);
    anon_tag = ht_tag_intern(HT_TAG_ANON, strlen(HT_TAG_ANON), HTL_TAG_ANON);
    add_list(settings->text[HT_OPT_TAG], false);
    if (settings->text[HT_OPT_TAG_FILE])
        add_file(settings->text[HT_OPT_TAG_FILE]);
    add_list(settings->text[HT_OPT_CONSTRUCT], true);
    const char *skip = settings->text[HT_OPT_TAG_SKIP], *item;
    size_t length;
    while (skip && (item = ht_option_next_item(&skip, &length)))
        if (length > 4)
            ht_modules_skip(item + 4, length - 4);
}

/* ---- matching frames ----------------------------------------------------------------------------
 */

ht_demangler *ht_rules_demangler(const char *name)
{
    if (!demangle && strncmp(name, "_Z", 2) == 0)
        *(void **)&demangle = dlsym(RTLD_DEFAULT, "__cxa_demangle");
    return demangle;
}

/* Stores what is known of a frame now that its module and name are. */
static void describe(uint32_t frame, const struct ht_module *module, const char *name)
{
    uint64_t info = HT_INFO_FINAL;
    if (!module) {
        __atomic_store_n(&ht_frames_of_no_module, true, __ATOMIC_RELEASE);
        info |= HT_INFO_NO_MODULE;
    } else {
        info |= module->id + 1;
        info |= module->flags & HTL_MODULE_RUNTIME ? HT_INFO_RUNTIME : 0;
        info |= module->flags & HTL_MODULE_SKIPPED ? HT_INFO_SKIPPED : 0;
    }
    const struct ht_module *program = ht_module(0);
    struct ht_rule_frame seen = {
        .base = module ? module->base : NULL,
        .soname = module ? module->soname : "",
        .program_base = program ? program->base : NULL,
        .program_soname = program ? program->soname : "",
        .function = name,
        .demangle = ht_rules_demangler(name),
    };
    info |= (uint64_t)ht_rules_first(rules, rule_count, false, &seen) << 16;
    info |= (uint64_t)ht_rules_first(rules, rule_count, true, &seen) << 28;
    __atomic_store_n(ht_intern_slot(&ht_frames, frame) + 2, info, __ATOMIC_RELEASE);
}

/* ---- batches: one pass over a module's symbols serves many frames
 * -------------------------------- */

#define BATCH 64

static struct {
    const struct ht_module *module;
    unsigned count;
    uint32_t frames[BATCH];
    struct symbol_request requests[BATCH];
    char names[BATCH][SYMBOL_SCAN_NAME];
} * batch;

static void finish_batch(void)
{
    if (batch->count == 0)
        return;
    if (symbol_scan(&batch->module->unwind.file, batch->requests, batch->count) != 0)
        for (unsigned i = 0; i < batch->count; i++)
            batch->names[i][0] = '\0';
    for (unsigned i = 0; i < batch->count; i++)
        describe(batch->frames[i], batch->module, batch->names[i]);
    batch->count = 0;
}

static void put_in_batch(uint32_t frame, const struct ht_module *module)
{
    if (batch->count == BATCH || batch->module != module)
        finish_batch();
    batch->module = module;
    unsigned i = batch->count++;
    batch->frames[i] = frame;
    batch->names[i][0] = '\0';
    batch->requests[i] = (struct symbol_request){
        .vaddr = ht_frame_pc(frame) - 1 - module->unwind.load_bias,
        .name = batch->names[i],
        .capacity = sizeof batch->names[i],
    };
}

/* Frames in each segment of the table: when it was last gone through, all of them then described;
 * and now. */
static uint32_t described[HT_INTERN_SEGMENTS], in_table[HT_INTERN_SEGMENTS];

static void each_new_frame(void (*visit)(uint32_t frame, uint64_t *info))
{
    for (unsigned s = 0; s < ht_intern_segments(&ht_frames); s++) {
        struct ht_intern_segment *segment = &ht_frames.segments[s];
        if (in_table[s] == described[s])
            continue;
        for (uint32_t i = 0; i < segment->size; i++) {
            uint64_t *slot = segment->slots + (size_t)i * ht_frames.stride;
            uint64_t key = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
            if (key && !(__atomic_load_n(slot + 2, __ATOMIC_ACQUIRE) & HT_INFO_FINAL))
                visit(segment->base + i, slot + 2);
        }
    }
}

static bool module_missing; /* a frame is in no module that is known: its module may be new */
static bool too_early;      /* a frame came in after the modules were looked at */

/* Notes the module of a frame by its address, or, at the second look, that it has none. The modules
 * are held: none goes away meanwhile, and those that went away have been noted by ht_frames_kill,
 * so that neither a successor at its address nor nothing is taken for it. */
static void note_module(uint32_t frame, uint64_t *info)
{
    uint64_t known = __atomic_load_n(info, __ATOMIC_ACQUIRE);
    if (HT_INFO_HAS_MODULE(known))
        return;
    const struct ht_module *module = ht_module_of(ht_frame_pc(frame));
    if (module) {
        ht_frame_info_set_module(info, module->id);
    } else if (known & HT_INFO_MISSED) {
        describe(frame, NULL, "");
    } else {
        __atomic_fetch_or(info, HT_INFO_MISSED, __ATOMIC_RELAXED);
        module_missing = true;
    }
}

/* Frames stand in the table in no order: modules are taken one after the other. */
static const struct ht_module *wanted;

static void describe_if_wanted(uint32_t frame, uint64_t *info)
{
    uint64_t known = __atomic_load_n(info, __ATOMIC_ACQUIRE);
    const struct ht_module *module =
        HT_INFO_HAS_MODULE(known) ? ht_module(HT_INFO_MODULE(known)) : NULL;
    if (!module)
        too_early = true;
    else if (!names_needed)
        describe(frame, module, "");
    else if (module == wanted)
        put_in_batch(frame, module);
}

/* Where rules need no names, all is done in one pass. */
static void note_and_describe(uint32_t frame, uint64_t *info)
{
    note_module(frame, info);
    if (!(__atomic_load_n(info, __ATOMIC_ACQUIRE) & HT_INFO_FINAL))
        describe_if_wanted(frame, info);
}

static void note_modules(void)
{
    module_missing = too_early = false;
    ht_modules_hold();
    each_new_frame(names_needed ? note_module : note_and_describe);
    ht_modules_release();
}

void ht_rules_describe_frames(void)
{
    for (unsigned s = 0; s < HT_INTERN_SEGMENTS; s++)
        in_table[s] = ht_frames.segments[s].used;
    if (!memcmp(in_table, described, sizeof described))
        return;
    if (!batch && names_needed && !(batch = ht_heap_alloc(sizeof *batch, 16)))
        return;
    ht_modules_refresh(false);
    note_modules();
    if (module_missing) {
        ht_modules_refresh(true);
        note_modules();
    }
    if (names_needed) {
        for (uint32_t id = 0; (wanted = ht_module(id)); id++)
            each_new_frame(describe_if_wanted);
        finish_batch();
    }
    if (!too_early)
        memcpy(described, in_table, sizeof described);
}

/* ---- stacks -------------------------------------------------------------------------------------
 */

static uint64_t info_of(uint32_t stack)
{
    uint64_t *slot = ht_intern_slot(&ht_frames, ht_stack_frame(stack));
    return __atomic_load_n(slot + 2, __ATOMIC_ACQUIRE);
}

/* Stacks all of whose frames are known to be described: a bit for each node of the tree. Stacks
 * share their outer nodes, so that each is looked at once. */
static unsigned char *stacks_described[HT_INTERN_SEGMENTS];

/* The bit of a node: `*mask` of a byte; NULL without memory. */
static unsigned char *described_bit(uint32_t stack, unsigned char *mask)
{
    unsigned s = (unsigned)(ht_intern_segment(&ht_stacks, stack) - ht_stacks.segments);
    uint32_t index = stack - ht_stacks.segments[s].base;
    *mask = (unsigned char)(1u << index % 8);
    if (!stacks_described[s])
        stacks_described[s] = ht_heap_alloc(ht_stacks.segments[s].size / 8, 16);
    return stacks_described[s] ? &stacks_described[s][index / 8] : NULL;
}

bool ht_rules_described(uint32_t stack)
{
    unsigned char mask, *bit;
    uint32_t node = stack, known;
    for (; node >= HT_STACK_ROOTS; node = ht_stack_outer(node)) {
        if ((bit = described_bit(node, &mask)) && *bit & mask)
            break;
        if (!(info_of(node) & HT_INFO_FINAL))
            return false;
    }
    known = node;
    for (node = stack; node != known; node = ht_stack_outer(node))
        if ((bit = described_bit(node, &mask)))
            *bit |= mask;
    return true;
}

uint32_t ht_rules_tag(uint32_t stack)
{
    struct ht_tag_walk walk = {0};
    for (; stack >= HT_STACK_ROOTS; stack = ht_stack_outer(stack)) {
        uint64_t info = info_of(stack);
        const struct ht_module *module =
            HT_INFO_HAS_MODULE(info) ? ht_module(HT_INFO_MODULE(info)) : NULL;
        uint32_t flags = (info & HT_INFO_RUNTIME ? HTL_MODULE_RUNTIME : 0) |
                         (info & HT_INFO_SKIPPED ? HTL_MODULE_SKIPPED : 0);
        uint32_t tag = ht_tag_walk_step(&walk, HT_INFO_RULE(info), flags,
                                        module ? module->default_tag : anon_tag);
        if (tag)
            return tag;
        if (walk.by_default && rule_count == 0)
            break; /* no frame further out has a say */
    }
    return ht_tag_walk_end(&walk, runtime_tag);
}

uint32_t ht_rules_construct(uint32_t stack)
{
    return stack >= HT_STACK_ROOTS ? HT_INFO_CONSTRUCT(info_of(stack)) : 0;
}
