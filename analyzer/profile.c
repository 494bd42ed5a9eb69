/*
 * Builds the model from records: while reading, dictionaries by the file's identifiers hold the
 * latest description and figures of each; at the end the sites are merged and sorted.
 */
#include "profile.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/alert_kinds.h"
#include "heaptally/options.h"
#include "progress.h"
#include "text.h"

/* A STACK record's identifier; the later record of the same identifier replaces the stack. */
struct ht_named_stack {
    uint32_t id;
    struct ht_stack *stack;
    UT_hash_handle hh;
};

/* What the file tells of the past of one site; most sites have none. */
struct site_past {
    struct ht_past ticks;   /* of the ticks that list it, thinned */
    struct ht_past thinned; /* the last HISTORY record */
};

/* A SITE record's identifier with its latest figures. */
struct ht_named_site {
    uint32_t id, stack, tag;
    bool scoped;      /* the tag is that of a scope */
    uint16_t region;  /* 0 for none */
    uint64_t listing; /* how many SNAPSHOT records stand before the figures; older ones are void */
    struct htl_figures figures;
    struct site_past *past; /* NULL until something is known */
    struct ht_site *site;   /* of the model, once the profile is complete */
    UT_hash_handle hh;
};

/* ---- dictionaries ---------------------------------------------------------------------------- */

/* The module that stands for all with this path and build-id; `m` itself if it is the first. */
static struct ht_module *canonical_module(struct ht_profile *p, struct ht_module *m)
{
    struct ht_module *first;
    HASH_FIND(by_key, p->modules_by_key, m->key, m->key_length, first);
    if (!first) {
        first = m;
        HASH_ADD_KEYPTR(by_key, p->modules_by_key, m->key, m->key_length, m);
    }
    first->flags |= m->flags & ~HTL_MODULE_CLOSED;
    return first;
}

/*
 * A module that is described again (it was closed, or its kind became known) keeps its object:
 * frames point to it. Another path or build-id under the same identifier is another module.
 */
static void take_module(struct ht_profile *p, const struct ht_record *r)
{
    const struct htl_module *head = &r->module.head;
    struct ht_module *m = ht_allocate_zeroed(1, sizeof *m), *old;
    m->id = head->id;
    m->flags = head->flags;
    m->load_bias = head->load_bias;
    m->start = head->start;
    m->end = head->end;
    m->build_id_length = r->module.build_id.length;
    m->key_length = sizeof head->build_id_length + m->build_id_length + r->module.path.length;
    m->key = ht_allocate(m->key_length + 1);
    memcpy(m->key, &head->build_id_length, sizeof head->build_id_length);
    m->build_id = (unsigned char *)m->key + sizeof head->build_id_length;
    m->path = (char *)m->build_id + m->build_id_length;
    memcpy(m->build_id, r->module.build_id.data, m->build_id_length);
    memcpy(m->path, r->module.path.data, r->module.path.length);
    m->key[m->key_length] = '\0';
    m->label = ht_clean(m->path, r->module.path.length);
    m->soname = ht_clean(r->module.soname.data, r->module.soname.length);
    m->canonical = canonical_module(p, m);
    HASH_FIND(by_id, p->modules_by_id, &m->id, sizeof m->id, old);
    if (old)
        HASH_DELETE(by_id, p->modules_by_id, old);
    HASH_ADD(by_id, p->modules_by_id, id, sizeof m->id, m);
    if (old && old->canonical != old) {
        free(old->key);
        free(old->label);
        free(old->soname);
        free(old);
    }
}

static struct ht_tag *tag_of(struct ht_profile *p, uint32_t id)
{
    struct ht_tag *tag;
    HASH_FIND(by_id, p->tags_by_id, &id, sizeof id, tag);
    if (tag)
        return tag;
    tag = ht_allocate_zeroed(1, sizeof *tag);
    tag->id = id;
    tag->latest.instantiations = tag->latest.cycles = HTL_UNKNOWN;
    HASH_ADD(by_id, p->tags_by_id, id, sizeof id, tag);
    p->tags = ht_room_for_one(p->tags, p->tag_count, sizeof *p->tags);
    p->tags[p->tag_count++] = tag;
    return tag;
}

static void take_tag(struct ht_profile *p, const struct ht_record *r)
{
    struct ht_tag *tag = tag_of(p, r->tag.head.id);
    free(tag->name);
    tag->name = ht_clean(r->tag.name.data, r->tag.name.length);
    tag->kind = r->tag.head.kind;
}

static void take_frames(struct ht_profile *p, const struct ht_record *r, struct ht_stack *stack)
{
    for (uint32_t i = 0; i < stack->frame_count; i++) {
        struct htl_frame frame;
        ht_entry(&r->stack.frames, i, &frame, sizeof frame);
        stack->frames[i].offset = frame.offset;
        stack->frames[i].module = NULL;
        if (frame.module == HTL_NO_MODULE)
            continue;
        struct ht_module *module;
        HASH_FIND(by_id, p->modules_by_id, &frame.module, sizeof frame.module, module);
        if (module)
            stack->frames[i].module = module->canonical;
        else
            p->quality.unknown_names++;
    }
}

/*
 * Stacks are compared by flags and frames; both lie in one block, laid out without padding, so that
 * equal stacks are equal bytes.
 */
static struct ht_stack *intern_stack(struct ht_profile *p, const struct ht_record *r)
{
    uint32_t count = r->stack.head.frame_count;
    if (count > HT_MAX_FRAMES) {
        p->quality.frames_left_out += count - HT_MAX_FRAMES;
        count = HT_MAX_FRAMES;
    }
    struct ht_stack *stack = ht_allocate_zeroed(1, sizeof *stack), *known;
    size_t key_length = (count + 1) * sizeof *stack->frames;
    /* One frame more at the front holds the flags, as part of the key. */
    struct ht_frame *key = ht_allocate_zeroed(1, key_length);
    stack->flags = r->stack.head.flags;
    if (count < r->stack.head.frame_count)
        stack->flags |= HTL_STACK_CUT;
    key->offset = stack->flags;
    stack->frame_count = count;
    stack->frames = key + 1;
    take_frames(p, r, stack);
    HASH_FIND(by_frames, p->stacks_by_frames, key, key_length, known);
    if (known) {
        free(key);
        free(stack);
        return known;
    }
    HASH_ADD_KEYPTR(by_frames, p->stacks_by_frames, key, key_length, stack);
    stack->next = p->all_stacks;
    p->all_stacks = stack;
    return stack;
}

static void take_stack(struct ht_profile *p, const struct ht_record *r)
{
    struct ht_named_stack *named;
    HASH_FIND(hh, p->named_stacks, &r->stack.head.id, sizeof r->stack.head.id, named);
    if (!named) {
        named = ht_allocate_zeroed(1, sizeof *named);
        named->id = r->stack.head.id;
        HASH_ADD(hh, p->named_stacks, id, sizeof named->id, named);
    }
    named->stack = intern_stack(p, r);
}

static void take_site(struct ht_profile *p, const struct ht_record *r)
{
    struct ht_named_site *site;
    HASH_FIND(hh, p->named_sites, &r->site.id, sizeof r->site.id, site);
    if (!site) {
        site = ht_allocate_zeroed(1, sizeof *site);
        site->id = r->site.id;
        HASH_ADD(hh, p->named_sites, id, sizeof site->id, site);
    }
    site->stack = r->site.stack;
    site->tag = r->site.tag;
    site->scoped = (p->start.compatible & HTL_COMPATIBLE_SITES)
                       ? r->site.flags & HTL_SITE_EXPLICIT
                       : tag_of(p, r->site.tag)->kind == HTL_TAG_EXPLICIT;
    site->region = r->site.region;
}

static struct ht_region *region_of(struct ht_profile *p, uint16_t id)
{
    struct ht_region *region;
    HASH_FIND(by_id, p->regions_by_id, &id, sizeof id, region);
    if (region)
        return region;
    region = ht_allocate_zeroed(1, sizeof *region);
    region->id = id;
    HASH_ADD(by_id, p->regions_by_id, id, sizeof id, region);
    p->regions = ht_room_for_one(p->regions, p->region_count, sizeof *p->regions);
    p->regions[p->region_count++] = region;
    return region;
}

static void take_region(struct ht_profile *p, const struct ht_record *r)
{
    struct ht_region *region = region_of(p, r->region.head.id);
    free(region->name);
    region->name = ht_clean(r->region.name.data, r->region.name.length);
    region->allocations = r->region.head.allocations;
    region->bytes = r->region.head.bytes;
}

/* ---- figures --------------------------------------------------------------------------------- */

/* allocated - freed; 0, and one contradiction more, where a figure is impossible. */
static uint64_t live(struct ht_profile *p, uint64_t allocated, uint64_t freed)
{
    if (freed <= allocated)
        return allocated - freed;
    p->quality.contradictions++;
    return 0;
}

static uint64_t since_start(const struct ht_profile *p, uint64_t monotonic_ns)
{
    uint64_t start = p->start.start_monotonic_ns;
    return monotonic_ns > start ? monotonic_ns - start : 0;
}

static void note_time(struct ht_profile *p, uint64_t monotonic_ns)
{
    double seconds = (double)since_start(p, monotonic_ns) / 1e9;
    if (seconds > p->duration_s)
        p->duration_s = seconds;
}

static void take_tag_figures(struct ht_profile *p, const struct htl_tick *tick,
                             const struct htl_tag_figures *figures)
{
    struct ht_tag *tag = tag_of(p, figures->tag);
    const struct htl_figures *f = &figures->figures;
    uint64_t now = f->allocated_bytes > f->freed_bytes ? f->allocated_bytes - f->freed_bytes : 0;
    tag->listed = true;
    tag->latest = *figures;
    ht_past_add(&tag->past, &(struct htl_history_point){
                                .t_ns = since_start(p, tick->monotonic_ns),
                                .low_bytes = figures->low_bytes,
                                .high_bytes = now,
                                .allocated_bytes = f->allocated_bytes,
                                .allocated_blocks = f->allocated_blocks,
                                .freed_blocks = f->freed_blocks,
                                .instantiations = figures->instantiations,
                                .cycles = figures->cycles,
                            });
}

static struct site_past *past_of(struct ht_named_site *site)
{
    if (!site->past)
        site->past = ht_allocate_zeroed(1, sizeof *site->past);
    return site->past;
}

/* SNAPSHOT lists every site: that one is among the top sites is known from a TICK alone. */
static void take_site_figures(struct ht_profile *p, const struct ht_record *r,
                              const struct htl_site_figures *figures)
{
    const struct htl_figures *f = &figures->figures;
    struct ht_named_site *site;
    HASH_FIND(hh, p->named_sites, &figures->site, sizeof figures->site, site);
    if (!site) {
        p->quality.unknown_names++;
        return;
    }
    site->figures = *f;
    site->listing = p->listings;
    if (r->type != HTL_TICK && !site->past)
        return;
    uint64_t now = f->allocated_bytes > f->freed_bytes ? f->allocated_bytes - f->freed_bytes : 0;
    struct ht_past *past = &past_of(site)->ticks;
    ht_past_thin(past);
    ht_past_add(past, &(struct htl_history_point){
                          .t_ns = since_start(p, r->tick.head.monotonic_ns),
                          .low_bytes = now,
                          .high_bytes = now,
                          .allocated_bytes = f->allocated_bytes,
                          .allocated_blocks = f->allocated_blocks,
                          .freed_blocks = f->freed_blocks,
                          .instantiations = HTL_UNKNOWN,
                          .cycles = HTL_UNKNOWN,
                      });
}

static void take_tick(struct ht_profile *p, const struct ht_record *r)
{
    const struct htl_tick *tick = &r->tick.head;
    bool all_sites = r->type == HTL_SNAPSHOT;
    if (all_sites) {
        p->listings++;
        p->quality.left_out_bytes = 0;
        p->quality.listing_is_cut = tick->left_out_sites > 0;
    }
    p->quality.left_out_bytes += tick->left_out_bytes;
    p->quality.sites_are_exact = (all_sites || p->quality.sites_are_exact) && !tick->left_out_sites;
    if (!p->has_tick)
        p->first_tick_ns = since_start(p, tick->monotonic_ns);
    if (tick->flags & HTL_TICK_RESUMED)
        p->resumed_ns = since_start(p, tick->monotonic_ns);
    p->ticks_left_out += tick->left_out_sites > 0;
    p->last = *tick;
    p->has_tick = true;
    note_time(p, tick->monotonic_ns);
    const struct htl_figures *total = &tick->total;
    if (total->allocated_bytes > total->freed_bytes &&
        total->allocated_bytes - total->freed_bytes > p->peak_live_bytes) {
        p->peak_live_bytes = total->allocated_bytes - total->freed_bytes;
        p->peak_t_ns = since_start(p, tick->monotonic_ns);
    }
    ht_past_add(&p->process, &(struct htl_history_point){
                                 .t_ns = since_start(p, tick->monotonic_ns),
                                 .low_bytes = tick->rss_bytes,
                                 .high_bytes = tick->rss_bytes,
                                 .allocated_bytes = tick->total.allocated_bytes,
                                 .allocated_blocks = tick->total.allocated_blocks,
                                 .freed_blocks = tick->total.freed_blocks,
                                 .instantiations = HTL_UNKNOWN,
                                 .cycles = HTL_UNKNOWN,
                             });
    for (uint32_t i = 0; i < r->tick.tags.count; i++) {
        struct htl_tag_figures figures;
        ht_entry(&r->tick.tags, i, &figures, sizeof figures);
        take_tag_figures(p, tick, &figures);
    }
    for (uint32_t i = 0; i < r->tick.sites.count; i++) {
        struct htl_site_figures figures;
        ht_entry(&r->tick.sites, i, &figures, sizeof figures);
        take_site_figures(p, r, &figures);
    }
}

/* Where a HISTORY record belongs; NULL where its site was never described. */
static struct ht_past *thinned_past(struct ht_profile *p, const struct htl_history *head)
{
    struct ht_named_site *site;
    if (head->subject == HTL_HISTORY_PROCESS)
        return &p->process_thinned;
    if (!(head->flags & HTL_HISTORY_SITE))
        return &tag_of(p, head->subject)->thinned;
    HASH_FIND(hh, p->named_sites, &head->subject, sizeof head->subject, site);
    if (site)
        return &past_of(site)->thinned;
    p->quality.unknown_names++;
    return NULL;
}

/* Of several HISTORY records of one subject the last holds the whole past. */
static void take_history(struct ht_profile *p, const struct ht_record *r)
{
    struct ht_past *past = thinned_past(p, &r->history.head);
    if (!past)
        return;
    ht_past_clear(past);
    for (uint32_t i = 0; i < r->history.points.count; i++) {
        struct htl_history_point point;
        ht_entry(&r->history.points, i, &point, sizeof point);
        ht_past_add(past, &point);
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void set(struct ht_profile *p, char *key, char *value)
{
    for (size_t i = 0; i < p->setting_count; i++)
        if (strcmp(p->settings[i].key, key) == 0) {
            free(p->settings[i].value);
            p->settings[i].value = value;
            free(key);
            return;
        }
    p->settings = ht_room_for_one(p->settings, p->setting_count, sizeof *p->settings);
    p->settings[p->setting_count++] = (struct ht_setting){key, value};
}

enum { MAX_SETTINGS = 1000 }; /* far beyond what is ever written; they are searched in a line */

/* "key=value" lines; a value holds line breaks of lists as ';'. */
static void take_settings(struct ht_profile *p, const struct ht_record *r)
{
    const char *at = (const char *)r->settings.data, *end = at + r->settings.length;
    while (at < end && p->setting_count < MAX_SETTINGS) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end)
            line_end = end;
        const char *equals = memchr(at, '=', (size_t)(line_end - at));
        if (equals)
            set(p, ht_clean(at, (size_t)(equals - at)),
                ht_clean(equals + 1, (size_t)(line_end - equals - 1)));
        at = line_end < end ? line_end + 1 : end;
    }
}

static void take_alert(struct ht_profile *p, const struct ht_record *r)
{
    p->alerts = ht_room_for_one(p->alerts, p->alert_count, sizeof *p->alerts);
    p->alerts[p->alert_count++] = (struct ht_alert){
        .head = r->alert.head,
        .message = ht_clean(r->alert.message.data, r->alert.message.length),
    };
    note_time(p, r->alert.head.monotonic_ns);
}

static void take_end(struct ht_profile *p, const struct ht_record *r)
{
    p->has_end = true;
    p->end = r->end;
    note_time(p, r->end.monotonic_ns);
}

static void take_record(struct ht_profile *p, const struct ht_record *r)
{
    static void (*const takers[])(struct ht_profile *, const struct ht_record *) = {
        [HTL_SETTINGS] = take_settings, [HTL_MODULE] = take_module,   [HTL_TAG] = take_tag,
        [HTL_STACK] = take_stack,       [HTL_SITE] = take_site,       [HTL_TICK] = take_tick,
        [HTL_SNAPSHOT] = take_tick,     [HTL_HISTORY] = take_history, [HTL_ALERT] = take_alert,
        [HTL_END] = take_end,           [HTL_REGION] = take_region,
    };
    takers[r->type](p, r);
}

/* ---- completing ------------------------------------------------------------------------------ */

static void add_figures(struct htl_figures *sum, const struct htl_figures *more)
{
    sum->allocated_bytes += more->allocated_bytes;
    sum->allocated_blocks += more->allocated_blocks;
    sum->freed_bytes += more->freed_bytes;
    sum->freed_blocks += more->freed_blocks;
}

static struct ht_stack *stack_of(struct ht_profile *p, uint32_t id)
{
    static const struct ht_record nothing_known = {
        .type = HTL_STACK, .stack.head.flags = HTL_STACK_FALLBACK | HTL_STACK_CUT};
    struct ht_named_stack *named;
    HASH_FIND(hh, p->named_stacks, &id, sizeof id, named);
    if (named)
        return named->stack;
    p->quality.unknown_names++;
    return intern_stack(p, &nothing_known);
}

/* One site for each distinct (frames, tag, region), figures added up. */
static void merge_sites(struct ht_profile *p)
{
    struct ht_named_site *named, *next_named;
    HASH_ITER(hh, p->named_sites, named, next_named)
    {
        struct ht_site key, *site;
        memset(&key, 0, sizeof key);
        key.stack = stack_of(p, named->stack);
        key.tag = tag_of(p, named->tag);
        key.region = named->region ? region_of(p, named->region) : NULL;
        size_t key_length = sizeof key.stack + sizeof key.tag + sizeof key.region;
        HASH_FIND(by_owner, p->sites_by_owner, &key.stack, key_length, site);
        if (!site) {
            site = ht_allocate(sizeof *site);
            *site = key;
            HASH_ADD(by_owner, p->sites_by_owner, stack, key_length, site);
            site->tag->sites =
                ht_room_for_one(site->tag->sites, site->tag->site_count, sizeof(struct ht_site *));
            site->tag->sites[site->tag->site_count++] = site;
            p->site_count++;
        }
        named->site = site;
        if (named->listing == p->listings)
            add_figures(&site->figures, &named->figures);
        if (named->listing == p->listings && named->scoped)
            add_figures(&site->scoped, &named->figures);
        if (named->past) {
            ht_past_join_newer(&named->past->thinned, &named->past->ticks);
            ht_past_add_up(&site->past, &named->past->thinned);
        }
    }
}

static int by_live_bytes(const void *a, const void *b)
{
    const struct ht_site *x = *(struct ht_site *const *)a, *y = *(struct ht_site *const *)b;
    if (x->live_bytes != y->live_bytes)
        return x->live_bytes < y->live_bytes ? 1 : -1;
    if (x->figures.allocated_bytes != y->figures.allocated_bytes)
        return x->figures.allocated_bytes < y->figures.allocated_bytes ? 1 : -1;
    return 0;
}

static void complete_tag(struct ht_profile *p, struct ht_tag *tag)
{
    const struct htl_figures *f = &tag->latest.figures;
    if (!tag->name) {
        tag->name = ht_format("[tag %u]", tag->id);
        p->quality.unknown_names++;
    }
    tag->live_bytes = live(p, f->allocated_bytes, f->freed_bytes);
    tag->live_blocks = live(p, f->allocated_blocks, f->freed_blocks);
    tag->peak_bytes =
        tag->latest.peak_bytes > tag->live_bytes ? tag->latest.peak_bytes : tag->live_bytes;
    for (size_t i = 0; i < tag->site_count; i++) {
        struct ht_site *site = tag->sites[i];
        site->live_bytes = live(p, site->figures.allocated_bytes, site->figures.freed_bytes);
        site->live_blocks = live(p, site->figures.allocated_blocks, site->figures.freed_blocks);
    }
    if (tag->site_count > 0)
        qsort(tag->sites, tag->site_count, sizeof *tag->sites, by_live_bytes);
    ht_past_join_older(&tag->past, &tag->thinned);
}

static int by_allocations(const void *a, const void *b)
{
    const struct htl_figures *x = &(*(struct ht_site *const *)a)->figures;
    const struct htl_figures *y = &(*(struct ht_site *const *)b)->figures;
    if (x->allocated_blocks != y->allocated_blocks)
        return x->allocated_blocks < y->allocated_blocks ? 1 : -1;
    return (x->allocated_bytes < y->allocated_bytes) - (x->allocated_bytes > y->allocated_bytes);
}

static int by_violations(const void *a, const void *b)
{
    const struct ht_region *x = *(struct ht_region *const *)a, *y = *(struct ht_region *const *)b;
    if (x->allocations != y->allocations)
        return x->allocations < y->allocations ? 1 : -1;
    return strcmp(x->name, y->name);
}

/* The file states the sum, since a tick does not list every site. */
static void complete_region(struct ht_profile *p, struct ht_region *region)
{
    uint64_t allocations = 0, bytes = 0;
    if (!region->name) {
        region->name = ht_format("[region %u]", region->id);
        p->quality.unknown_names++;
    }
    for (size_t i = 0; i < region->site_count; i++) {
        allocations += region->sites[i]->figures.allocated_blocks;
        bytes += region->sites[i]->figures.allocated_bytes;
    }
    if (region->allocations < allocations) {
        region->allocations = allocations;
        region->bytes = bytes;
    }
}

void ht_profile_list_regions(struct ht_profile *p)
{
    struct ht_site *site, *next;
    for (size_t i = 0; i < p->region_count; i++) {
        free(p->regions[i]->sites);
        p->regions[i]->sites = NULL;
        p->regions[i]->site_count = 0;
    }
    HASH_ITER(by_owner, p->sites_by_owner, site, next)
    {
        struct ht_region *region = site->joined ? NULL : site->region;
        if (!region)
            continue;
        region->sites = ht_room_for_one(region->sites, region->site_count, sizeof *region->sites);
        region->sites[region->site_count++] = site;
    }
    for (size_t i = 0; i < p->region_count; i++)
        if (p->regions[i]->site_count > 0)
            qsort(p->regions[i]->sites, p->regions[i]->site_count, sizeof *p->regions[i]->sites,
                  by_allocations);
}

static void complete(struct ht_profile *p)
{
    merge_sites(p);
    for (size_t i = 0; i < p->tag_count; i++)
        complete_tag(p, p->tags[i]);
    ht_profile_list_regions(p);
    for (size_t i = 0; i < p->region_count; i++)
        complete_region(p, p->regions[i]);
    if (p->region_count > 0)
        qsort(p->regions, p->region_count, sizeof *p->regions, by_violations);
    ht_past_join_older(&p->process, &p->process_thinned);
    p->live_bytes = live(p, p->last.total.allocated_bytes, p->last.total.freed_bytes);
    p->live_blocks = live(p, p->last.total.allocated_blocks, p->last.total.freed_blocks);
    p->rss_baseline = p->rss_last = HTL_UNKNOWN;
    for (size_t i = 0; i < p->process.count; i++) {
        uint64_t rss = p->process.points[i].high_bytes;
        if (rss == HTL_UNKNOWN)
            continue;
        if (p->rss_baseline == HTL_UNKNOWN)
            p->rss_baseline = rss;
        p->rss_last = rss;
    }
}

/* ---- the outside ----------------------------------------------------------------------------- */

static struct ht_profile *load(struct ht_snapshot *snapshot, const char *name)
{
    const struct ht_snapshot_header *header = ht_snapshot_header(snapshot);
    struct ht_profile *p = ht_allocate_zeroed(1, sizeof *p);
    struct ht_record record;
    p->file = ht_clean(name, strlen(name));
    p->start = header->fixed;
    p->exe = ht_clean(header->exe.data, header->exe.length);
    p->host = ht_clean(header->host.data, header->host.length);
    char *what = ht_format("reading %s", ht_base_name(p->file));
    for (unsigned n = 0; ht_snapshot_next(snapshot, &record); n++) {
        take_record(p, &record);
        if (n % 256 == 0)
            ht_progress(what, record.offset, ht_snapshot_state(snapshot)->file_size);
    }
    ht_progress_end();
    free(what);
    p->reading = *ht_snapshot_state(snapshot);
    ht_snapshot_close(snapshot);
    complete(p);
    return p;
}

struct ht_profile *ht_profile_load(const char *path, char **error)
{
    struct ht_snapshot *snapshot = ht_snapshot_open(path, error);
    struct ht_profile *p = snapshot ? load(snapshot, path) : NULL;
    if (p)
        p->path = ht_format("%s", path);
    return p;
}

struct ht_profile *ht_profile_load_fd(int fd, const char *name, char **error)
{
    struct ht_snapshot *snapshot = ht_snapshot_open_fd(fd, error);
    return snapshot ? load(snapshot, name) : NULL;
}

static void free_module(struct ht_module *m)
{
    free(m->key);
    free(m->label);
    free(m->soname);
    free(m);
}

/* A module that is canonical may have lost its identifier to a later one, and the other way round.
 */
static void free_modules(struct ht_profile *p)
{
    struct ht_module *m, *next;
    HASH_ITER(by_id, p->modules_by_id, m, next)
    {
        HASH_DELETE(by_id, p->modules_by_id, m);
        if (m->canonical != m)
            free_module(m);
    }
    HASH_ITER(by_key, p->modules_by_key, m, next)
    {
        HASH_DELETE(by_key, p->modules_by_key, m);
        free_module(m);
    }
}

static void free_tag_list(struct ht_tag **tags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct ht_tag *tag = tags[i];
        free(tag->verdict);
        free(tag->name);
        free(tag->past.points);
        free(tag->thinned.points);
        free(tag->sites);
        free(tag);
    }
    free(tags);
}

static void free_named_site(struct ht_named_site *site)
{
    if (site->past) {
        ht_past_clear(&site->past->ticks);
        ht_past_clear(&site->past->thinned);
    }
    free(site->past);
    free(site);
}

static void free_regions(struct ht_profile *p)
{
    HASH_CLEAR(by_id, p->regions_by_id);
    for (size_t i = 0; i < p->region_count; i++) {
        free(p->regions[i]->name);
        free(p->regions[i]->sites);
        free(p->regions[i]);
    }
    free(p->regions);
}

static void free_sites_and_stacks(struct ht_profile *p)
{
    struct ht_named_stack *named_stack, *next_named_stack;
    struct ht_named_site *named_site, *next_named_site;
    struct ht_site *site, *next_site;
    HASH_ITER(hh, p->named_stacks, named_stack, next_named_stack)
    {
        HASH_DELETE(hh, p->named_stacks, named_stack);
        free(named_stack);
    }
    HASH_ITER(hh, p->named_sites, named_site, next_named_site)
    {
        HASH_DELETE(hh, p->named_sites, named_site);
        free_named_site(named_site);
    }
    HASH_ITER(by_owner, p->sites_by_owner, site, next_site)
    {
        HASH_DELETE(by_owner, p->sites_by_owner, site);
        ht_past_clear(&site->past);
        free(site);
    }
    HASH_CLEAR(by_frames, p->stacks_by_frames);
    for (struct ht_stack *stack = p->all_stacks, *next; stack; stack = next) {
        next = stack->next;
        free(stack->frames - 1);
        free(stack);
    }
}

void ht_profile_free(struct ht_profile *p)
{
    if (!p)
        return;
    free_sites_and_stacks(p);
    HASH_CLEAR(by_id, p->tags_by_id);
    free_tag_list(p->tags, p->tag_count);
    free_tag_list(p->retired_tags, p->retired_count);
    free_regions(p);
    free_modules(p);
    for (size_t i = 0; i < p->alert_count; i++)
        free(p->alerts[i].message);
    for (size_t i = 0; i < p->setting_count; i++) {
        free(p->settings[i].key);
        free(p->settings[i].value);
    }
    free(p->alerts);
    free(p->settings);
    free(p->process.points);
    free(p->process_thinned.points);
    free(p->file);
    free(p->path);
    free(p->exe);
    free(p->host);
    free(p);
}

struct ht_site *ht_profile_site(const struct ht_profile *p, uint32_t id)
{
    const struct ht_named_site *named;
    HASH_FIND(hh, p->named_sites, &id, sizeof id, named);
    struct ht_site *site = named ? named->site : NULL;
    return site && site->joined ? site->joined : site;
}

const char *ht_profile_alert_subject(const struct ht_profile *p, const struct ht_alert *alert)
{
    const struct ht_tag *tag;
    const struct ht_region *region;
    uint16_t id = (uint16_t)alert->head.tag;
    if (alert->head.kind == HEAPTALLY_ALERT_NO_ALLOC) {
        HASH_FIND(by_id, p->regions_by_id, &id, sizeof id, region);
        return region && alert->head.tag == id ? region->name : NULL;
    }
    HASH_FIND(by_id, p->tags_by_id, &alert->head.tag, sizeof alert->head.tag, tag);
    return tag ? tag->name : NULL;
}

const char *ht_profile_setting(const struct ht_profile *p, const char *key)
{
    for (size_t i = 0; i < p->setting_count; i++)
        if (strcmp(p->settings[i].key, key) == 0)
            return p->settings[i].value;
    return NULL;
}

double ht_profile_leak_threshold(const struct ht_profile *p)
{
    const struct ht_option *option = &ht_options[HT_OPT_LEAK_THRESHOLD];
    const char *value = ht_profile_setting(p, option->name);
    uint64_t bytes = 0;
    if (!value || ht_option_check(HT_OPT_LEAK_THRESHOLD, value, &bytes))
        ht_option_check(HT_OPT_LEAK_THRESHOLD, option->standard, &bytes);
    return (double)bytes;
}

double ht_tag_bytes_per_instantiation(const struct ht_tag *tag)
{
    uint64_t n = tag->latest.instantiations;
    return n == 0 || n == HTL_UNKNOWN ? NAN : (double)tag->live_bytes / (double)n;
}
