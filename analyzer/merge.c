#include "merge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heaptally/alert_kinds.h"
#include "text.h"
#include "verdict.h"

struct merger {
    struct ht_profile *sum;
    const struct ht_profile *from;
    uint64_t shift_ns; /* from the start of the sum to that of `from` */
};

static void add(struct htl_figures *sum, const struct htl_figures *more)
{
    sum->allocated_bytes += more->allocated_bytes;
    sum->allocated_blocks += more->allocated_blocks;
    sum->freed_bytes += more->freed_bytes;
    sum->freed_blocks += more->freed_blocks;
}

static uint64_t add_known(uint64_t a, uint64_t b)
{
    return a == HTL_UNKNOWN ? b : b == HTL_UNKNOWN ? a : a + b;
}

/* Adds a past, moved to where its process began. */
static void add_past(const struct merger *m, struct ht_past *sum, const struct ht_past *past)
{
    struct ht_past copy = {NULL, past->count};
    if (past->count == 0)
        return;
    copy.points = ht_allocate(past->count * sizeof *copy.points);
    memcpy(copy.points, past->points, past->count * sizeof *copy.points);
    for (size_t i = 0; i < copy.count; i++)
        copy.points[i].t_ns += m->shift_ns;
    ht_past_add_up(sum, &copy);
}

/* ---- dictionaries ---------------------------------------------------------------------------- */

static struct ht_module *module_of(struct ht_profile *sum, const struct ht_module *from)
{
    struct ht_module *module;
    HASH_FIND(by_key, sum->modules_by_key, from->key, from->key_length, module);
    if (module)
        return module;
    module = ht_allocate_zeroed(1, sizeof *module);
    *module = *from;
    module->id = HASH_CNT(by_key, sum->modules_by_key);
    module->canonical = module;
    module->key = ht_allocate(from->key_length + 1);
    memcpy(module->key, from->key, from->key_length + 1);
    module->build_id = (unsigned char *)module->key + ((char *)from->build_id - from->key);
    module->path = module->key + (from->path - from->key);
    module->label = ht_format("%s", from->label);
    module->soname = ht_format("%s", from->soname);
    HASH_ADD_KEYPTR(by_key, sum->modules_by_key, module->key, module->key_length, module);
    HASH_ADD(by_id, sum->modules_by_id, id, sizeof module->id, module);
    return module;
}

/* Laid out as the profile lays out its own: the flags as a frame before the first. */
static struct ht_stack *stack_of(struct ht_profile *sum, const struct ht_stack *from)
{
    size_t length = (from->frame_count + 1) * sizeof *from->frames;
    struct ht_frame *key = ht_allocate_zeroed(1, length);
    struct ht_stack *stack;
    key->offset = from->flags;
    for (uint32_t i = 0; i < from->frame_count; i++) {
        const struct ht_frame *frame = &from->frames[i];
        key[i + 1].module = frame->module ? module_of(sum, frame->module) : NULL;
        key[i + 1].offset = frame->offset;
    }
    HASH_FIND(by_frames, sum->stacks_by_frames, key, length, stack);
    if (stack) {
        free(key);
        return stack;
    }
    stack = ht_allocate_zeroed(1, sizeof *stack);
    stack->flags = from->flags;
    stack->frame_count = from->frame_count;
    stack->frames = key + 1;
    stack->next = sum->all_stacks;
    sum->all_stacks = stack;
    HASH_ADD_KEYPTR(by_frames, sum->stacks_by_frames, key, length, stack);
    return stack;
}

static struct ht_tag *tag_of(struct ht_profile *sum, const struct ht_tag *from)
{
    for (size_t i = 0; i < sum->tag_count; i++)
        if (strcmp(sum->tags[i]->name, from->name) == 0)
            return sum->tags[i];
    struct ht_tag *tag = ht_allocate_zeroed(1, sizeof *tag);
    tag->id = (uint32_t)sum->tag_count;
    tag->kind = from->kind;
    tag->name = ht_format("%s", from->name);
    tag->latest.instantiations = tag->latest.cycles = HTL_UNKNOWN;
    HASH_ADD(by_id, sum->tags_by_id, id, sizeof tag->id, tag);
    sum->tags = ht_room_for_one(sum->tags, sum->tag_count, sizeof *sum->tags);
    return sum->tags[sum->tag_count++] = tag;
}

static struct ht_region *region_of(struct ht_profile *sum, const struct ht_region *from)
{
    for (size_t i = 0; from && i < sum->region_count; i++)
        if (strcmp(sum->regions[i]->name, from->name) == 0)
            return sum->regions[i];
    if (!from)
        return NULL;
    struct ht_region *region = ht_allocate_zeroed(1, sizeof *region);
    region->id = (uint16_t)sum->region_count;
    region->name = ht_format("%s", from->name);
    HASH_ADD(by_id, sum->regions_by_id, id, sizeof region->id, region);
    sum->regions = ht_room_for_one(sum->regions, sum->region_count, sizeof *sum->regions);
    return sum->regions[sum->region_count++] = region;
}

/* ---- one process more ------------------------------------------------------------------------ */

static void add_site(const struct merger *m, const struct ht_site *from, struct ht_tag *tag)
{
    struct ht_site key, *site;
    memset(&key, 0, sizeof key);
    key.stack = stack_of(m->sum, from->stack);
    key.tag = tag;
    key.region = region_of(m->sum, from->region);
    size_t length = sizeof key.stack + sizeof key.tag + sizeof key.region;
    HASH_FIND(by_owner, m->sum->sites_by_owner, &key.stack, length, site);
    if (!site) {
        site = ht_allocate(sizeof *site);
        *site = key;
        HASH_ADD(by_owner, m->sum->sites_by_owner, stack, length, site);
        tag->sites = ht_room_for_one(tag->sites, tag->site_count, sizeof *tag->sites);
        tag->sites[tag->site_count++] = site;
        m->sum->site_count++;
    }
    add(&site->figures, &from->figures);
    add(&site->scoped, &from->scoped);
    for (int moment = 0; moment < HT_MOMENTS; moment++)
        add(&site->then[moment], &from->then[moment]);
    site->live_bytes += from->live_bytes;
    site->live_blocks += from->live_blocks;
    add_past(m, &site->past, &from->past);
}

/* Keeps the gravest verdict; of leaks the fastest. */
static void add_verdict(const struct merger *m, struct ht_tag *tag, const struct ht_tag *from)
{
    struct ht_verdict v;
    ht_verdict_of_tag(m->from, from, &v);
    if (tag->verdict) {
        const struct ht_verdict *kept = tag->verdict;
        bool graver = v.kind < kept->kind ||
                      (v.kind == kept->kind &&
                       (isnan(kept->mb_per_hour) || v.mb_per_hour > kept->mb_per_hour));
        if (!graver)
            return;
    } else {
        tag->verdict = ht_allocate(sizeof v);
    }
    char reason[sizeof v.reason];
    memcpy(reason, v.reason, sizeof reason);
    snprintf(v.reason, sizeof v.reason, "pid %u: %.*s", m->from->start.pid,
             (int)(sizeof v.reason - 24), reason);
    *tag->verdict = v;
}

static void add_tag(const struct merger *m, const struct ht_tag *from)
{
    struct ht_tag *tag = tag_of(m->sum, from);
    struct htl_tag_figures *sum = &tag->latest;
    tag->listed |= from->listed;
    add(&sum->figures, &from->latest.figures);
    sum->instantiations = add_known(sum->instantiations, from->latest.instantiations);
    sum->cycles = add_known(sum->cycles, from->latest.cycles);
    tag->live_bytes += from->live_bytes;
    tag->live_blocks += from->live_blocks;
    for (int moment = 0; moment < HT_MOMENTS; moment++)
        add(&tag->then[moment], &from->then[moment]);
    add_past(m, &tag->past, &from->past);
    for (size_t i = 0; i < from->site_count; i++)
        add_site(m, from->sites[i], tag);
    add_verdict(m, tag, from);
}

static void add_last_tick(struct ht_profile *sum, const struct ht_profile *from)
{
    struct htl_tick *to = &sum->last;
    const struct htl_tick *last = &from->last;
    if (!from->has_tick)
        return;
    sum->has_tick = true;
    add(&to->total, &last->total);
    add(&to->fallback, &last->fallback);
    to->foreign_frees += last->foreign_frees;
    to->foreign_bytes += last->foreign_bytes;
    to->suspected_overruns += last->suspected_overruns;
    to->own_bytes += last->own_bytes;
    to->dropped_ticks += last->dropped_ticks;
    to->truncated += last->truncated;
    if (last->realtime_ns > to->realtime_ns) {
        to->realtime_ns = last->realtime_ns;
        to->monotonic_ns = last->monotonic_ns;
    }
}

static void add_quality(struct ht_profile *sum, const struct ht_profile *from)
{
    struct ht_read_state *reading = &sum->reading;
    reading->file_size += from->reading.file_size;
    reading->offset += from->reading.offset;
    reading->records += from->reading.records;
    reading->unknown += from->reading.unknown;
    reading->malformed += from->reading.malformed;
    if (!reading->torn)
        reading->torn = from->reading.torn;
    sum->quality.sites_are_exact &= from->quality.sites_are_exact;
    sum->quality.listing_is_cut |= from->quality.listing_is_cut;
    sum->quality.left_out_bytes += from->quality.left_out_bytes;
    sum->quality.contradictions += from->quality.contradictions;
    sum->quality.unknown_names += from->quality.unknown_names;
    sum->quality.frames_left_out += from->quality.frames_left_out;
    sum->ticks_left_out += from->ticks_left_out;
}

/* What an alert is about, by the identifiers of the sum: a region, a tag or the process. */
static uint32_t subject_of(const struct merger *m, const struct htl_alert *alert)
{
    const struct ht_tag *tag;
    const struct ht_region *region;
    uint16_t id = (uint16_t)alert->tag;
    if (alert->kind == HEAPTALLY_ALERT_NO_ALLOC) {
        HASH_FIND(by_id, m->from->regions_by_id, &id, sizeof id, region);
        return region && alert->tag == id ? region_of(m->sum, region)->id : HTL_HISTORY_PROCESS;
    }
    HASH_FIND(by_id, m->from->tags_by_id, &alert->tag, sizeof alert->tag, tag);
    return tag ? tag_of(m->sum, tag)->id : HTL_HISTORY_PROCESS;
}

static void add_alerts(const struct merger *m)
{
    struct ht_profile *sum = m->sum;
    for (size_t i = 0; i < m->from->alert_count; i++) {
        const struct ht_alert *alert = &m->from->alerts[i];
        sum->alerts = ht_room_for_one(sum->alerts, sum->alert_count, sizeof *sum->alerts);
        struct ht_alert *copy = &sum->alerts[sum->alert_count++];
        copy->head = alert->head;
        copy->message = ht_format("pid %u: %s", m->from->start.pid, alert->message);
        uint64_t after = alert->head.monotonic_ns - m->from->start.start_monotonic_ns;
        copy->head.monotonic_ns = sum->start.start_monotonic_ns + m->shift_ns + after;
        copy->head.tag = subject_of(m, &alert->head);
    }
}

static void add_profile(struct ht_profile *sum, const struct ht_profile *from)
{
    struct merger m = {sum, from, from->start.start_realtime_ns - sum->start.start_realtime_ns};
    double end = (double)m.shift_ns / 1e9 + from->duration_s;
    for (size_t i = 0; i < from->tag_count; i++)
        add_tag(&m, from->tags[i]);
    for (size_t i = 0; i < from->region_count; i++) {
        struct ht_region *region = region_of(sum, from->regions[i]);
        region->allocations += from->regions[i]->allocations;
        region->bytes += from->regions[i]->bytes;
    }
    add_last_tick(sum, from);
    add_quality(sum, from);
    add_past(&m, &sum->process, &from->process);
    add_alerts(&m);
    sum->rss_baseline = add_known(sum->rss_baseline, from->rss_baseline);
    sum->rss_last = add_known(sum->rss_last, from->rss_last);
    sum->live_bytes += from->live_bytes;
    sum->live_blocks += from->live_blocks;
    sum->has_end &= from->has_end;
    sum->duration_s = end > sum->duration_s ? end : sum->duration_s;
}

/* ---- the outside ----------------------------------------------------------------------------- */

static int by_live_bytes(const void *a, const void *b)
{
    const struct ht_site *x = *(struct ht_site *const *)a, *y = *(struct ht_site *const *)b;
    if (x->live_bytes != y->live_bytes)
        return x->live_bytes < y->live_bytes ? 1 : -1;
    uint64_t m = x->figures.allocated_bytes, n = y->figures.allocated_bytes;
    return m != n ? (m < n ? 1 : -1) : 0;
}

static int by_moment(const void *a, const void *b)
{
    const struct htl_alert *x = a, *y = b; /* the first member of both */
    return x->monotonic_ns < y->monotonic_ns ? -1 : x->monotonic_ns > y->monotonic_ns;
}

static void complete(struct ht_profile *sum)
{
    for (size_t i = 0; i < sum->tag_count; i++) {
        struct ht_tag *tag = sum->tags[i];
        if (tag->site_count > 0)
            qsort(tag->sites, tag->site_count, sizeof *tag->sites, by_live_bytes);
        tag->peak_bytes = tag->live_bytes;
        for (size_t k = 0; k < tag->past.count; k++)
            if (tag->past.points[k].high_bytes > tag->peak_bytes)
                tag->peak_bytes = tag->past.points[k].high_bytes;
        tag->latest.peak_bytes = tag->peak_bytes;
    }
    if (sum->alert_count > 0)
        qsort(sum->alerts, sum->alert_count, sizeof *sum->alerts, by_moment);
    ht_profile_list_regions(sum);
}

struct ht_profile *ht_profiles_merge(struct ht_profile *const *profiles, size_t count)
{
    const struct ht_profile *first = profiles[0];
    struct ht_profile *sum = ht_allocate_zeroed(1, sizeof *sum);
    for (size_t i = 1; i < count; i++)
        if (profiles[i]->start.start_realtime_ns < first->start.start_realtime_ns)
            first = profiles[i];
    sum->file = ht_format("%s", ht_counted(count, "file"));
    sum->start = first->start;
    sum->exe = ht_format("%s", first->exe);
    sum->host = ht_format("%s", first->host);
    sum->first_tick_ns = first->first_tick_ns;
    sum->end = first->end;
    sum->has_end = sum->quality.sites_are_exact = true;
    sum->rss_baseline = sum->rss_last = HTL_UNKNOWN;
    for (size_t i = 0; i < first->setting_count; i++) {
        sum->settings = ht_room_for_one(sum->settings, i, sizeof *sum->settings);
        sum->settings[i].key = ht_format("%s", first->settings[i].key);
        sum->settings[i].value = ht_format("%s", first->settings[i].value);
        sum->setting_count = i + 1;
    }
    for (size_t i = 0; i < count; i++)
        add_profile(sum, profiles[i]);
    complete(sum);
    return sum;
}
