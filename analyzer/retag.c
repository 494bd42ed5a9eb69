/*
 * Three steps: modules get their kind and their tag; each site finds its tag, by the frames of its
 * stack, each of which is looked at once; tags whose sites changed are added up anew.
 *
 * While that goes on a tag is a number: its place in `names`, from 1.
 */
#include "retag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/tagging.h"
#include "symbol_name.h"
#include "text.h"

/* From the C++ runtime's ABI; there is no C header for it. */
extern char *__cxa_demangle(const char *mangled, char *buffer, size_t *length, int *status);

enum { RULES_FILE_MAX = 64 << 10 };

struct name {
    char *text;
    enum htl_tag_kind kind; /* where the file does not know the name */
    bool constructs;        /* a rule counts its instantiations */
};

struct ht_retagging {
    struct ht_rule *rules;
    unsigned count;
    const char **skips; /* NULL-terminated globs */
    size_t skip_count;
    struct name *names; /* of the rules; a rule's tag is a place from 1 */
    size_t name_count;
    char **texts; /* of rule files */
    size_t text_count;
    bool asks_names;
};

/* ---- rules ----------------------------------------------------------------------------------- */

static uint32_t number_of(struct name **names, size_t *count, const char *text, size_t length,
                          enum htl_tag_kind kind)
{
    for (size_t i = 0; i < *count; i++)
        if (strlen((*names)[i].text) == length && memcmp((*names)[i].text, text, length) == 0)
            return (uint32_t)i + 1;
    *names = ht_room_for_one(*names, *count, sizeof **names);
    (*names)[*count] = (struct name){.text = ht_clean(text, length), .kind = kind};
    return (uint32_t)++ * count;
}

struct ht_retagging *ht_retagging_new(void)
{
    struct ht_retagging *r = ht_allocate_zeroed(1, sizeof *r);
    r->rules = ht_allocate_zeroed(HT_MAX_RULES, sizeof *r->rules);
    r->skips = ht_allocate_zeroed(1, sizeof *r->skips);
    return r;
}

static bool add_rule(struct ht_retagging *r, const char *command, const char *option,
                     const char *item, size_t length, bool construct)
{
    size_t name;
    if (r->count == HT_MAX_RULES) {
        ht_complain("%s %s %.*s: more than %d rules; join some patterns", command, option,
                    (int)length, item, HT_MAX_RULES);
        return false;
    }
    struct ht_rule *rule = &r->rules[r->count];
    if (!ht_rule_parse(item, length, construct, &name, rule)) {
        ht_complain("%s %s %.*s: is not NAME=PATTERN; write for example pid='pid_*' or "
                    "plan=lib:libplan*",
                    command, option, (int)length, item);
        return false;
    }
    rule->tag = number_of(&r->names, &r->name_count, item, name, HTL_TAG_RULE);
    r->names[rule->tag - 1].constructs |= construct;
    r->asks_names |= rule->kind == HT_RULE_FUNCTION;
    r->count++;
    return true;
}

static bool add_list(struct ht_retagging *r, const char *command, const char *option,
                     const char *value, bool construct)
{
    const char *item, *cursor = value;
    size_t length;
    bool any = false, fine = true;
    while (fine && (item = ht_option_next_item(&cursor, &length))) {
        fine = add_rule(r, command, option, item, length, construct);
        any = true;
    }
    return fine && (any || add_rule(r, command, option, "", 0, construct));
}

bool ht_retagging_tag(struct ht_retagging *r, const char *command, const char *value)
{
    return add_list(r, command, "--tag", value, false);
}

bool ht_retagging_construct(struct ht_retagging *r, const char *command, const char *value)
{
    return add_list(r, command, "--construct", value, true);
}

bool ht_retagging_skip(struct ht_retagging *r, const char *command, const char *value)
{
    if (strncmp(value, "lib:", 4) != 0 || !value[4]) {
        ht_complain("%s --tag-skip %s: is not lib:GLOB; write for example 'lib:libros*'", command,
                    value);
        return false;
    }
    r->skips = ht_reallocate(r->skips, r->skip_count + 2, sizeof *r->skips);
    r->skips[r->skip_count++] = value + 4;
    r->skips[r->skip_count] = NULL;
    return true;
}

bool ht_retagging_file(struct ht_retagging *r, const char *command, const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = ht_allocate_zeroed(RULES_FILE_MAX + 1, 1);
    size_t length = file ? fread(text, 1, RULES_FILE_MAX + 1, file) : 0;
    bool failed = !file || ferror(file);
    if (file)
        fclose(file);
    r->texts = ht_room_for_one(r->texts, r->text_count, sizeof *r->texts);
    r->texts[r->text_count++] = text;
    if (failed) {
        ht_complain("%s --tag-file %s: cannot be read; name another file", command, path);
        return false;
    }
    if (length > RULES_FILE_MAX) {
        ht_complain("%s --tag-file %s: is longer than 64 KB; split it", command, path);
        return false;
    }
    const char *line, *cursor = text;
    bool fine = true;
    while (fine && (line = ht_rule_next_line(&cursor, &length)))
        fine = add_rule(r, command, "--tag-file", line, length, false);
    return fine;
}

void ht_retagging_free(struct ht_retagging *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->name_count; i++)
        free(r->names[i].text);
    for (size_t i = 0; i < r->text_count; i++)
        free(r->texts[i]);
    free(r->names);
    free(r->texts);
    free(r->skips);
    free(r->rules);
    free(r);
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* What is known of a frame. */
struct known {
    struct ht_frame frame;       /* key */
    uint32_t rule, construct;    /* tags, 0 for none */
    uint32_t before;             /* the construct tag by the rules of the run */
    uint32_t flags, default_tag; /* of its module */
    UT_hash_handle hh;
};

struct job {
    struct ht_profile *profile;
    const struct ht_retagging *rules,
        *before; /* `before`: --construct as the process ran with it */
    struct ht_symbol_names *symbols;
    struct name *names;
    size_t name_count;
    const struct ht_module *program;
    struct known *frames;
    struct ht_retagged result;
};

static uint32_t tag_named(struct job *job, const char *text, size_t length, enum htl_tag_kind kind)
{
    return number_of(&job->names, &job->name_count, text, length, kind);
}

static void find_module(struct job *job, struct known *known)
{
    struct ht_module *module = known->frame.module;
    if (!module) {
        known->default_tag = tag_named(job, HT_TAG_ANON, strlen(HT_TAG_ANON), HTL_TAG_ANON);
        return;
    }
    const char *base = ht_base_name(module->label);
    const char *name = *module->soname ? module->soname : base;
    uint32_t kind = ht_module_kind(base, module->soname);
    if (!kind && ht_any_glob_means_module(job->rules->skips, base, module->soname))
        kind = HTL_MODULE_SKIPPED;
    module->flags = (module->flags & ~(HTL_MODULE_RUNTIME | HTL_MODULE_SKIPPED)) | kind;
    known->flags = kind;
    known->default_tag = tag_named(job, name, ht_module_tag_length(name), HTL_TAG_DEFAULT);
}

static const struct known *look_at(struct job *job, const struct ht_frame *frame)
{
    struct known *known;
    HASH_FIND(hh, job->frames, frame, sizeof *frame, known);
    if (known)
        return known;
    known = ht_allocate_zeroed(1, sizeof *known);
    known->frame = *frame;
    HASH_ADD(hh, job->frames, frame, sizeof *frame, known);
    find_module(job, known);
    const struct ht_module *module = frame->module;
    bool has_file = true, asks = job->rules->asks_names || job->before->asks_names;
    struct ht_rule_frame seen = {
        .base = module ? ht_base_name(module->label) : NULL,
        .soname = module ? module->soname : "",
        .program_base = job->program ? ht_base_name(job->program->label) : NULL,
        .program_soname = job->program ? job->program->soname : "",
        .function = module && asks ? ht_symbol_name(job->symbols, frame, &has_file) : "",
        .demangle = __cxa_demangle,
    };
    job->result.nameless_frames += !has_file && job->rules->asks_names;
    known->rule = ht_rules_first(job->rules->rules, job->rules->count, false, &seen);
    known->construct = ht_rules_first(job->rules->rules, job->rules->count, true, &seen);
    known->before = ht_rules_first(job->before->rules, job->before->count, true, &seen);
    return known;
}

/* The tag of a stack, as a number. */
static uint32_t tag_of_stack(struct job *job, const struct ht_stack *stack)
{
    struct ht_tag_walk walk = {0};
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        const struct known *known = look_at(job, &stack->frames[i]);
        uint32_t tag = ht_tag_walk_step(&walk, known->rule, known->flags, known->default_tag);
        if (tag)
            return tag;
    }
    return ht_tag_walk_end(&walk,
                           tag_named(job, HT_TAG_RUNTIME, strlen(HT_TAG_RUNTIME), HTL_TAG_RUNTIME));
}

/* ---- sites ----------------------------------------------------------------------------------- */

static void add(struct htl_figures *sum, const struct htl_figures *more)
{
    sum->allocated_bytes += more->allocated_bytes;
    sum->allocated_blocks += more->allocated_blocks;
    sum->freed_bytes += more->freed_bytes;
    sum->freed_blocks += more->freed_blocks;
}

static struct htl_figures rest(const struct htl_figures *whole, const struct htl_figures *part)
{
    return (struct htl_figures){
        whole->allocated_bytes - part->allocated_bytes,
        whole->allocated_blocks - part->allocated_blocks,
        whole->freed_bytes - part->freed_bytes,
        whole->freed_blocks - part->freed_blocks,
    };
}

static uint64_t difference(uint64_t more, uint64_t less)
{
    return more > less ? more - less : 0;
}

static struct ht_tag *known_tag(const struct ht_profile *p, const char *name)
{
    for (size_t i = 0; i < p->tag_count; i++)
        if (strcmp(p->tags[i]->name, name) == 0)
            return p->tags[i];
    return NULL;
}

/* The tag of a number; made where the file has none of the name. */
static struct ht_tag *tag_at(struct job *job, uint32_t number)
{
    struct ht_profile *p = job->profile;
    const struct name *name = &job->names[number - 1];
    struct ht_tag *tag = known_tag(p, name->text);
    if (tag)
        return tag;
    tag = ht_allocate_zeroed(1, sizeof *tag);
    tag->id = HTL_NO_MODULE - number; /* in no record */
    tag->kind = name->kind;
    tag->name = ht_format("%s", name->text);
    tag->listed = tag->retagged = true;
    tag->latest.instantiations = tag->latest.cycles = HTL_UNKNOWN;
    p->tags = ht_room_for_one(p->tags, p->tag_count, sizeof *p->tags);
    return p->tags[p->tag_count++] = tag;
}

enum {
    OWNER_KEY = sizeof(struct ht_stack *) + sizeof(struct ht_tag *) + sizeof(struct ht_region *)
};

/* The site that `like` is, were it of another tag; NULL where there is none. */
static struct ht_site *site_of(struct ht_profile *p, const struct ht_site *like, struct ht_tag *tag)
{
    struct ht_site key, *site;
    memset(&key, 0, sizeof key);
    key.stack = like->stack;
    key.tag = tag;
    key.region = like->region;
    HASH_FIND(by_owner, p->sites_by_owner, &key.stack, OWNER_KEY, site);
    return site;
}

static void add_site(struct ht_profile *p, struct ht_site *site)
{
    HASH_ADD(by_owner, p->sites_by_owner, stack, OWNER_KEY, site);
}

/* What of a site no scope was open for becomes a site of its own. Its past and its earlier figures
 * stay: the file has those of the whole only. */
static struct ht_site *split_off(struct ht_profile *p, struct ht_site *site, struct ht_tag *to)
{
    struct ht_site *part = ht_allocate_zeroed(1, sizeof *part);
    part->stack = site->stack;
    part->tag = to;
    part->region = site->region;
    part->figures = rest(&site->figures, &site->scoped);
    site->figures = site->scoped;
    add_site(p, part);
    p->site_count++;
    return part;
}

static void join_sites(struct ht_profile *p, struct ht_site *into, struct ht_site *site)
{
    add(&into->figures, &site->figures);
    add(&into->scoped, &site->scoped);
    for (int m = 0; m < HT_MOMENTS; m++)
        add(&into->then[m], &site->then[m]);
    ht_past_add_up(&into->past, &site->past);
    site->joined = into;
    p->site_count--;
}

/* Gives a site, or the part of it that is no scope's, to another tag. */
static void move_site(struct ht_profile *p, struct ht_site *site, struct ht_tag *to)
{
    struct ht_site *there = site_of(p, site, to);
    struct htl_figures moved = rest(&site->figures, &site->scoped);
    site->tag->retagged = to->retagged = true;
    if (site->scoped.allocated_blocks > 0 && there)
        add(&there->figures, &moved), site->figures = site->scoped;
    else if (site->scoped.allocated_blocks > 0)
        split_off(p, site, to);
    else if (there)
        join_sites(p, there, site);
    else {
        HASH_DELETE(by_owner, p->sites_by_owner, site);
        site->tag = to;
        add_site(p, site);
    }
}

static void retag_sites(struct job *job)
{
    struct ht_profile *p = job->profile;
    struct ht_site *site, *next, **all = ht_allocate_zeroed(p->site_count, sizeof *all);
    size_t count = 0;
    HASH_ITER(by_owner, p->sites_by_owner, site, next)
    if (!site->joined)
        all[count++] = site;
    for (size_t i = 0; i < count; i++) {
        site = all[i];
        bool all_scoped = site->figures.allocated_blocks > 0 &&
                          site->scoped.allocated_blocks == site->figures.allocated_blocks;
        struct ht_tag *to = all_scoped ? site->tag : tag_at(job, tag_of_stack(job, site->stack));
        if (to != site->tag)
            move_site(p, site, to);
    }
    free(all);
}

/* ---- tags ------------------------------------------------------------------------------------ */

static int by_live_bytes(const void *a, const void *b)
{
    const struct ht_site *x = *(struct ht_site *const *)a, *y = *(struct ht_site *const *)b;
    if (x->live_bytes != y->live_bytes)
        return x->live_bytes < y->live_bytes ? 1 : -1;
    uint64_t m = x->figures.allocated_bytes, n = y->figures.allocated_bytes;
    return m != n ? (m < n ? 1 : -1) : 0;
}

static void list_sites(struct ht_profile *p)
{
    struct ht_site *site, *next;
    for (size_t i = 0; i < p->tag_count; i++)
        p->tags[i]->site_count = 0;
    HASH_ITER(by_owner, p->sites_by_owner, site, next)
    {
        struct ht_tag *tag = site->tag;
        if (site->joined)
            continue;
        site->live_bytes = difference(site->figures.allocated_bytes, site->figures.freed_bytes);
        site->live_blocks = difference(site->figures.allocated_blocks, site->figures.freed_blocks);
        if (tag->site_count == 0) { /* the array grows from the start, as all do */
            free(tag->sites);
            tag->sites = NULL;
        }
        tag->sites = ht_room_for_one(tag->sites, tag->site_count, sizeof *tag->sites);
        tag->sites[tag->site_count++] = site;
    }
    ht_profile_list_regions(p);
    for (size_t i = 0; i < p->tag_count; i++)
        if (p->tags[i]->site_count > 0)
            qsort(p->tags[i]->sites, p->tags[i]->site_count, sizeof *p->tags[i]->sites,
                  by_live_bytes);
}

/* A copy of a past, which adding up would empty. */
static struct ht_past copy_of(const struct ht_past *past)
{
    struct ht_past copy = {NULL, past->count};
    if (past->count > 0) {
        copy.points = ht_allocate(past->count * sizeof *copy.points);
        memcpy(copy.points, past->points, past->count * sizeof *copy.points);
    }
    return copy;
}

/*
 * The past of a tag, of its sites. Where ticks left sites out, it begins when the last one of them
 * was first listed: what there was of it before is not known. None where what the sites tell of is
 * not nearly all that the tag allocated.
 */
static void add_up_past(const struct ht_profile *p, struct ht_tag *tag)
{
    uint64_t begin = 0, told;
    size_t skipped = 0, count = tag->site_count;
    struct ht_past *pasts = ht_allocate_zeroed(count, sizeof *pasts);
    for (size_t i = 0; i < count; i++) {
        pasts[i] = copy_of(&tag->sites[i]->past);
        if (p->ticks_left_out > 0 && pasts[i].count > 0 && pasts[i].points[0].t_ns > begin)
            begin = pasts[i].points[0].t_ns;
    }
    /* By pairs, so that no long sum is added to often. */
    for (size_t step = 1; step < count; step *= 2)
        for (size_t i = 0; i + step < count; i += 2 * step)
            ht_past_add_up(&pasts[i], &pasts[i + step]);
    ht_past_clear(&tag->past);
    if (count > 0)
        tag->past = pasts[0];
    free(pasts);
    while (skipped < tag->past.count && tag->past.points[skipped].t_ns < begin)
        skipped++;
    if (skipped > 0)
        memmove(tag->past.points, tag->past.points + skipped,
                (tag->past.count - skipped) * sizeof *tag->past.points);
    tag->past.count -= skipped;
    told = tag->past.count ? tag->past.points[tag->past.count - 1].allocated_bytes : 0;
    if (told < tag->latest.figures.allocated_bytes / 100 * 99)
        ht_past_clear(&tag->past);
}

static void add_up_tag(const struct ht_profile *p, struct ht_tag *tag)
{
    struct htl_figures *f = &tag->latest.figures;
    memset(f, 0, sizeof *f);
    memset(tag->then, 0, sizeof tag->then);
    for (size_t i = 0; i < tag->site_count; i++) {
        add(f, &tag->sites[i]->figures);
        for (int m = 0; m < HT_MOMENTS; m++)
            add(&tag->then[m], &tag->sites[i]->then[m]);
    }
    add_up_past(p, tag);
    tag->live_bytes = tag->peak_bytes = difference(f->allocated_bytes, f->freed_bytes);
    tag->live_blocks = difference(f->allocated_blocks, f->freed_blocks);
    for (size_t i = 0; i < tag->past.count; i++)
        if (tag->past.points[i].high_bytes > tag->peak_bytes)
            tag->peak_bytes = tag->past.points[i].high_bytes;
    tag->latest.peak_bytes = tag->peak_bytes;
}

/*
 * Instantiations: what the rules of the run counted goes, what the rules that are given count
 * comes; what the program itself counted stays.
 */
static void count_instantiations(struct job *job)
{
    struct ht_profile *p = job->profile;
    const struct ht_retagging *rules = job->rules, *before = job->before;
    uint64_t *made = ht_allocate_zeroed(rules->name_count + 1, sizeof *made);
    uint64_t *was = ht_allocate_zeroed(before->name_count + 1, sizeof *was);
    struct ht_site *site, *next;
    HASH_ITER(by_owner, p->sites_by_owner, site, next)
    {
        if (site->joined || site->stack->frame_count == 0)
            continue;
        const struct known *known = look_at(job, &site->stack->frames[0]);
        made[known->construct] += site->figures.allocated_blocks;
        was[known->before] += site->figures.allocated_blocks;
    }
    for (size_t i = 0; i < before->name_count; i++) {
        struct ht_tag *tag = known_tag(p, before->names[i].text);
        if (!tag || tag->latest.instantiations == HTL_UNKNOWN)
            continue;
        uint64_t own = difference(tag->latest.instantiations, was[i + 1]);
        tag->latest.instantiations = own > 0 ? own : HTL_UNKNOWN;
    }
    for (size_t i = 0; i < rules->name_count; i++) {
        if (!rules->names[i].constructs)
            continue;
        struct ht_tag *tag = tag_at(job, (uint32_t)i + 1);
        uint64_t own = tag->latest.instantiations;
        tag->latest.instantiations = made[i + 1] + (own == HTL_UNKNOWN ? 0 : own);
    }
    free(made);
    free(was);
}

/* A tag that has nothing any more is kept out of reports; alerts may still name it. */
static void retire_tags(struct ht_profile *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->tag_count; i++) {
        struct ht_tag *tag = p->tags[i];
        const struct htl_tag_figures *f = &tag->latest;
        if (!tag->retagged || tag->site_count > 0 || tag->kind == HTL_TAG_EXPLICIT ||
            f->instantiations != HTL_UNKNOWN || f->cycles != HTL_UNKNOWN) {
            p->tags[kept++] = tag;
            continue;
        }
        p->retired_tags = ht_room_for_one(p->retired_tags, p->retired_count, sizeof tag);
        p->retired_tags[p->retired_count++] = tag;
    }
    p->tag_count = kept;
}

/* ---- the outside ----------------------------------------------------------------------------- */

/* The rules that the process counted instantiations by. */
static struct ht_retagging *rules_of_the_run(const struct ht_profile *p)
{
    struct ht_retagging *before = ht_retagging_new();
    const char *item, *cursor = ht_profile_setting(p, "construct");
    size_t length;
    while (cursor && (item = ht_option_next_item(&cursor, &length))) {
        size_t name;
        struct ht_rule rule;
        if (before->count < HT_MAX_RULES && ht_rule_parse(item, length, true, &name, &rule))
            add_rule(before, "", "", item, length, true);
    }
    return before;
}

static const struct ht_module *program_of(const struct ht_profile *p)
{
    struct ht_module *module, *next;
    HASH_ITER(by_id, p->modules_by_id, module, next)
    if (module->flags & HTL_MODULE_MAIN)
        return module;
    return NULL;
}

static void forget_job(struct job *job, struct ht_retagging *before)
{
    struct known *known, *next;
    HASH_ITER(hh, job->frames, known, next)
    {
        HASH_DEL(job->frames, known);
        free(known);
    }
    for (size_t i = 0; i < job->name_count; i++)
        free(job->names[i].text);
    free(job->names);
    ht_symbol_names_free(job->symbols);
    ht_retagging_free(before);
}

struct ht_retagged ht_retag(struct ht_profile *p, struct ht_symbolizer *symbolizer,
                            const struct ht_retagging *rules)
{
    struct ht_retagging *before = rules_of_the_run(p);
    struct job job = {
        .profile = p,
        .rules = rules,
        .before = before,
        .symbols = ht_symbol_names_new(symbolizer),
        .program = program_of(p),
    };
    /* Numbers of the rules' tags are those of the job. */
    for (size_t i = 0; i < rules->name_count; i++)
        tag_named(&job, rules->names[i].text, strlen(rules->names[i].text), HTL_TAG_RULE);
    retag_sites(&job);
    list_sites(p);
    count_instantiations(&job);
    uint64_t live = 0;
    for (size_t i = 0; i < p->tag_count; i++) {
        if (p->tags[i]->retagged)
            add_up_tag(p, p->tags[i]);
        live += p->tags[i]->live_bytes;
    }
    retire_tags(p);
    job.result.unlisted_bytes = difference(p->live_bytes, live);
    forget_job(&job, before);
    return job.result;
}
