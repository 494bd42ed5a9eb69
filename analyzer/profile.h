/*
 * One snapshot file in memory: what every report is made from.
 *
 *   profile ── modules        by id; each stands for one canonical module (same path and build-id)
 *           ├─ tags           by id; latest figures, past, and their sites by live bytes
 *           ├─ regions        without allocations, as promised, and the sites that broke it
 *           ├─ stacks         by id while reading; one object per distinct list of frames
 *           ├─ ticks          resident memory and totals over time
 *           └─ alerts, settings, quality
 *
 * A *site* of the file is (stack, tag, region) under an id; a site of the model is one distinct
 * (frames, tag, region): sites of the file that became the same one are added up. Figures are the
 * latest listed: a SNAPSHOT lists all sites and so replaces every earlier figure; a TICK replaces
 * those it lists.
 *
 * Memory is a small multiple of the file's size: nothing is allocated by an identifier's value.
 * All strings are clean (see text.h), except `path`, which is for opening the file.
 */
#ifndef HEAPTALLY_ANALYZER_PROFILE_H
#define HEAPTALLY_ANALYZER_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "past.h"
#include "snapshot_read.h"

struct ht_module {
    uint32_t id;
    struct ht_module *canonical; /* itself, or the first one with the same path and build-id */
    uint32_t flags;              /* HTL_MODULE_* */
    uint64_t load_bias;          /* where it was: run-time address minus address in the file */
    uint64_t start, end;         /* run-time extent */
    unsigned char *build_id;
    size_t build_id_length;
    char *path;   /* as the process saw it */
    char *label;  /* the same, fit for printing */
    char *soname; /* fit for printing; "" where it has none or none was recorded */
    char *key;    /* build_id_length, build-id, path: what the two above point into */
    size_t key_length;
    UT_hash_handle by_id, by_key;
};

struct ht_frame {
    struct ht_module *module; /* canonical; NULL outside any module */
    uint64_t offset;          /* return address in the module's file; the address without module */
};

struct ht_stack {
    uint32_t flags; /* HTL_STACK_* */
    uint32_t frame_count;
    struct ht_frame *frames; /* innermost first */
    struct ht_stack *next;   /* all stacks of the profile */
    UT_hash_handle by_frames;
};

struct ht_tag;

/* Earlier moments of which look_back.h finds the figures. */
enum ht_moment { HT_AT_PEAK, HT_AT_BASELINE, HT_MOMENTS };

/* A region of HEAPTALLY_NO_ALLOC in which something was allocated all the same. */
struct ht_region {
    uint16_t id;
    char *name;
    uint64_t allocations, bytes; /* of all of them; of sites too that the file does not list */
    struct ht_site **sites;      /* by allocations, then by bytes, both falling */
    size_t site_count;
    UT_hash_handle by_id;
};

struct ht_site {
    struct ht_stack *stack;
    struct ht_tag *tag;
    struct ht_region *region; /* whose promise each allocation here broke; NULL for none */
    struct htl_figures figures;
    struct htl_figures scoped; /* the part whose tag was that of a scope */
    uint64_t live_bytes, live_blocks;
    struct ht_past past; /* while it was among the top sites: HISTORY, then ticks that list it */
    struct htl_figures then[HT_MOMENTS]; /* 0 until they were looked for, see look_back.h */
    struct ht_site *joined; /* what it became a part of by re-tagging; NULL: it stands for itself */
    UT_hash_handle by_owner; /* key: stack, tag, region, which stand side by side */
};

struct ht_tag {
    uint32_t id;
    enum htl_tag_kind kind;
    char *name;
    bool retagged; /* its sites are not those that the file gives it, see retag.h */
    bool listed;   /* a tick has given figures; else all are 0 or unknown */
    struct htl_tag_figures latest;
    uint64_t live_bytes, live_blocks, peak_bytes;
    struct htl_figures then[HT_MOMENTS]; /* as of its sites */
    struct ht_verdict *verdict;          /* once it was asked for, see verdict.h */
    struct ht_past past;    /* of each tick in which it changed; before the first, from HISTORY */
    struct ht_past thinned; /* the last HISTORY record, until the profile is complete */
    struct ht_site **sites; /* by live bytes, then by allocated bytes, both falling */
    size_t site_count;
    UT_hash_handle by_id;
};

struct ht_alert {
    struct htl_alert head;
    char *message;
};

struct ht_setting {
    char *key, *value;
};

/* What the figures cannot carry, beside what the last tick says. */
struct ht_quality {
    bool sites_are_exact;     /* nothing was counted after the last listing of all sites */
    bool listing_is_cut;      /* that had no room for all of them */
    uint64_t left_out_bytes;  /* moved by sites that were not listed since, or had no room there */
    uint64_t contradictions;  /* figures that freed more than was allocated */
    uint64_t unknown_names;   /* entries whose tag, stack or module was never described */
    uint64_t frames_left_out; /* of stacks deeper than HT_MAX_FRAMES */
};

enum { HT_MAX_FRAMES = 4096 };

struct ht_profile {
    char *file; /* as it was named */
    char *path; /* the same, for opening it again; NULL where a descriptor was read */
    struct htl_file_header start;
    char *exe, *host;
    double duration_s; /* from the start of counting to the last record with a time */

    bool has_tick;
    uint64_t resumed_ns; /* first tick after the last pause of counting; 0 where there was none */
    uint64_t first_tick_ns; /* since the start of counting; older points stand for longer spans */
    struct htl_tick last;   /* the last TICK or SNAPSHOT */
    bool has_end;
    struct htl_end end;
    struct ht_read_state reading;
    struct ht_quality quality;

    struct ht_past process; /* low_bytes and high_bytes are resident bytes, HTL_UNKNOWN if unread */
    struct ht_past process_thinned;
    uint64_t rss_baseline, rss_last; /* HTL_UNKNOWN where unknown */
    uint64_t live_bytes, live_blocks;
    uint64_t peak_live_bytes, peak_t_ns; /* most live bytes of all ticks in the file, and when */

    struct ht_tag **tags;         /* in the order of the file */
    struct ht_tag **retired_tags; /* those that re-tagging left without anything */
    size_t retired_count;
    size_t tag_count, site_count;
    struct ht_region **regions; /* those that were violated; by allocations, falling, then name */
    size_t region_count;
    uint64_t listings;       /* SNAPSHOT records so far */
    uint64_t ticks_left_out; /* that did not list all sites that had changed */
    struct ht_alert *alerts;
    size_t alert_count;
    struct ht_setting *settings;
    size_t setting_count;

    /* Dictionaries; the last two live only while reading. */
    struct ht_module *modules_by_id, *modules_by_key;
    struct ht_tag *tags_by_id;
    struct ht_region *regions_by_id;
    struct ht_stack *stacks_by_frames, *all_stacks;
    struct ht_site *sites_by_owner;
    struct ht_named_stack *named_stacks;
    struct ht_named_site *named_sites;
};

/*
 * Reads the whole file. NULL with `*error` (a new string: what is wrong, without the path) where it
 * cannot be read at all; a torn file gives what was whole.
 */
struct ht_profile *ht_profile_load(const char *path, char **error);

/* The same on an open descriptor, which is closed; `name` is how reports call it. */
struct ht_profile *ht_profile_load_fd(int fd, const char *name, char **error);

void ht_profile_free(struct ht_profile *profile);

/* The site that the file calls `id`; NULL where it has none. */
struct ht_site *ht_profile_site(const struct ht_profile *profile, uint32_t id);

/* Lists the sites of each region anew, after sites were made or joined. */
void ht_profile_list_regions(struct ht_profile *profile);

/* The name of the tag or of the region that an alert is about; NULL for the process. */
const char *ht_profile_alert_subject(const struct ht_profile *profile,
                                     const struct ht_alert *alert);

/* The value of a setting or fact that the process recorded; NULL where it did not. */
const char *ht_profile_setting(const struct ht_profile *profile, const char *key);

/* The limit in bytes per 1000 instantiations that the process ran with, else the standard one. */
double ht_profile_leak_threshold(const struct ht_profile *profile);

/* Live bytes per instantiation; NaN where instantiations were not counted or none was made. */
double ht_tag_bytes_per_instantiation(const struct ht_tag *tag);

#endif
