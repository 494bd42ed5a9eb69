/*
 * A second pass over the records: for each moment the latest figures up to it are kept by the
 * file's identifiers, and at the end added up by site of the model.
 */
#include "look_back.h"

#include <stdlib.h>
#include <string.h>

#include "heaptally/units.h"
#include "clamped.h"
#include "text.h"

/* Figures of a site of the file at one moment. */
struct entry {
    uint32_t id;
    uint64_t listing[HT_MOMENTS]; /* of how many SNAPSHOT records; older figures are void */
    struct htl_figures figures[HT_MOMENTS];
    UT_hash_handle hh;
};

struct pass {
    struct ht_profile *profile;
    uint64_t wanted_ns[HT_MOMENTS];
    uint64_t listings[HT_MOMENTS];
    struct ht_look_back *found;
    struct entry *sites;
};

static struct entry *entry_of(struct pass *pass, uint32_t id)
{
    struct entry *entry;
    HASH_FIND(hh, pass->sites, &id, sizeof id, entry);
    if (!entry) {
        entry = ht_allocate_zeroed(1, sizeof *entry);
        entry->id = id;
        HASH_ADD(hh, pass->sites, id, sizeof id, entry);
    }
    return entry;
}

/* Takes the figures of a tick for one moment. */
static void take(struct pass *pass, enum ht_moment m, const struct ht_record *r, uint64_t t_ns)
{
    const struct htl_tick *tick = &r->tick.head;
    const struct htl_figures *total = &tick->total;
    struct ht_look_back *found = &pass->found[m];
    bool all = r->type == HTL_SNAPSHOT;
    pass->listings[m] += all;
    *found = (struct ht_look_back){
        .known = true,
        .t_ns = t_ns,
        .live_bytes = total->allocated_bytes > total->freed_bytes
                          ? total->allocated_bytes - total->freed_bytes
                          : 0,
        .left_out_bytes = all ? 0 : found->left_out_bytes + tick->left_out_bytes,
        .before_the_file = t_ns > pass->wanted_ns[m],
    };
    for (uint32_t i = 0; i < r->tick.tags.count; i++) {
        struct htl_tag_figures figures;
        struct ht_tag *tag;
        ht_entry(&r->tick.tags, i, &figures, sizeof figures);
        HASH_FIND(by_id, pass->profile->tags_by_id, &figures.tag, sizeof figures.tag, tag);
        if (tag)
            tag->then[m] = figures.figures;
    }
    for (uint32_t i = 0; i < r->tick.sites.count; i++) {
        struct htl_site_figures figures;
        ht_entry(&r->tick.sites, i, &figures, sizeof figures);
        struct entry *entry = entry_of(pass, figures.site);
        entry->listing[m] = pass->listings[m];
        entry->figures[m] = figures.figures;
    }
}

static void take_tick(struct pass *pass, const struct ht_record *r)
{
    uint64_t start = pass->profile->start.start_monotonic_ns, now = r->tick.head.monotonic_ns;
    uint64_t t_ns = now > start ? now - start : 0;
    for (enum ht_moment m = 0; m < HT_MOMENTS; m++)
        if (t_ns <= pass->wanted_ns[m] || !pass->found[m].known)
            take(pass, m, r, t_ns);
}

static void add(struct htl_figures *sum, const struct htl_figures *more)
{
    sum->allocated_bytes += more->allocated_bytes;
    sum->allocated_blocks += more->allocated_blocks;
    sum->freed_bytes += more->freed_bytes;
    sum->freed_blocks += more->freed_blocks;
}

static void add_up(struct pass *pass)
{
    struct entry *entry, *next;
    HASH_ITER(hh, pass->sites, entry, next)
    {
        struct ht_site *site = ht_profile_site(pass->profile, entry->id);
        for (enum ht_moment m = 0; site && m < HT_MOMENTS; m++)
            if (entry->listing[m] == pass->listings[m])
                add(&site->then[m], &entry->figures[m]);
        HASH_DELETE(hh, pass->sites, entry);
        free(entry);
    }
}

/* The file knows nothing of tags that were assigned afresh: theirs are the figures of their sites.
 */
static void add_up_retagged(struct ht_profile *p)
{
    for (size_t i = 0; i < p->tag_count; i++) {
        struct ht_tag *tag = p->tags[i];
        if (!tag->retagged)
            continue;
        memset(tag->then, 0, sizeof tag->then);
        for (size_t k = 0; k < tag->site_count; k++)
            for (enum ht_moment m = 0; m < HT_MOMENTS; m++)
                add(&tag->then[m], &tag->sites[k]->then[m]);
    }
}

static void forget(struct ht_profile *p)
{
    struct ht_site *site, *next;
    HASH_ITER(by_owner, p->sites_by_owner, site, next)
    memset(site->then, 0, sizeof site->then);
    for (size_t i = 0; i < p->tag_count; i++)
        memset(p->tags[i]->then, 0, sizeof p->tags[i]->then);
}

uint64_t ht_standard_baseline(const struct ht_profile *p)
{
    uint64_t fifth = ht_clamped_whole(p->duration_s / 5 * 1e9), most = 600 * HT_SECOND;
    return fifth < most ? fifth : most;
}

bool ht_look_back(struct ht_profile *p, uint64_t baseline_ns, struct ht_look_back found[HT_MOMENTS],
                  char **error)
{
    struct pass pass = {.profile = p, .found = found};
    struct ht_record record;
    pass.wanted_ns[HT_AT_PEAK] = p->peak_t_ns;
    pass.wanted_ns[HT_AT_BASELINE] = baseline_ns;
    memset(found, 0, HT_MOMENTS * sizeof *found);
    forget(p);
    if (!p->path) {
        *error = ht_format("cannot be read a second time; name a file");
        return false;
    }
    struct ht_snapshot *snapshot = ht_snapshot_open(p->path, error);
    if (!snapshot)
        return false;
    const struct htl_file_header *header = &ht_snapshot_header(snapshot)->fixed;
    bool same =
        header->pid == p->start.pid && header->start_realtime_ns == p->start.start_realtime_ns;
    while (same && ht_snapshot_next(snapshot, &record))
        if (record.type == HTL_TICK || record.type == HTL_SNAPSHOT)
            take_tick(&pass, &record);
    ht_snapshot_close(snapshot);
    add_up(&pass);
    add_up_retagged(p);
    if (!same)
        *error = ht_format("was replaced by another file meanwhile; try again");
    return same;
}
