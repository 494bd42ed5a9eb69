#include "snapshot_write.h"

#include <elf.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "aggregate.h"
#include "alert.h"
#include "frame_info.h"
#include "heaptally/crc32c.h"
#include "history.h"
#include "internal_heap.h"
#include "metrics_sweep.h"
#include "module_map.h"
#include "moment.h"
#include "nearest_limit.h"
#include "options.h"
#include "raw_io.h"
#include "real_alloc.h"
#include "site_table.h"
#include "snapshot_file.h"
#include "thresholds.h"
#include "top_sites.h"
#include "unwind.h"

#define BUFFER_FIRST   ((size_t)64 << 10)
#define BUFFER_AHEAD   (BUFFER_FIRST / 2) /* records that go ahead */
#define BUFFER_KEPT    BUFFER_FIRST       /* from one write to the next */
#define MAX_TICK_SITES 64u                /* sites that one tick lists */
#define MANY_AHEAD     256u /* sites whose stacks are written ahead of ticks, at once */
#define SITE_COST      700u /* bytes of a site that is written anew, with its stack */
/* Of one whose stack is in the file. */
#define KNOWN_SITE_COST                                                                            \
    (sizeof(struct htl_record_header) + sizeof(struct htl_site) + sizeof(struct htl_site_figures))
_Static_assert(HT_STACK_FALLBACK < 8, "a byte has a bit for each way a stack ends");

static struct ht_file file = {.fd = -1};
static char start_directory[PATH_MAX]; /* what a relative name is relative to; "" where unknown */
static uint64_t start_realtime_ns, start_monotonic_ns;
static uint64_t sequence, dropped_ticks;
static bool dirty;            /* written since the last sync */
static bool failing;          /* the last write failed: said once */
static bool resumed;          /* the next tick is the first after a pause of counting */
static uint64_t alerts_put;   /* number of the last alert that is in the file */
static uint32_t looked_ahead; /* sites in the list whose stacks need not be written ahead */
static bool refused_ahead;    /* that has failed since the last tick */
static bool all_due; /* the file lacks what was written before: the next tick lists everything */

/* The records of one write. What it grows to is small, however much is written at once: whole
 * records go ahead to the file that they are for, once there are BUFFER_AHEAD bytes of them. */
static struct {
    unsigned char *bytes;
    size_t used, capacity;
    bool failed;        /* no memory: nothing of it is written */
    struct ht_file *to; /* where records may go ahead to, or NULL */
    bool full;          /* they would not fit that file: they are not kept */
    int error;          /* -errno of what went ahead */
    uint64_t alerts;    /* number of the last alert among the records */
} buffer;

/* A bit for each stack id, in the segments of the table of stacks; NULL where none is written. */
static unsigned char *stacks_written[HT_INTERN_SEGMENTS];
static unsigned char roots_written;             /* and for each of enum ht_stack_root */
static unsigned char tags_written[HT_TAGS / 8]; /* and for each tag: the file has its name */

/* ---- building records ---------------------------------------------------------------------------
 */

/* Room for `size` bytes, of zeros; NULL without memory, or where there was none before. */
static void *reserve(size_t size)
{
    if (buffer.failed)
        return NULL;
    if (buffer.used + size > buffer.capacity) {
        size_t capacity = buffer.capacity ? buffer.capacity : BUFFER_FIRST;
        while (capacity < buffer.used + size)
            capacity *= 2;
        unsigned char *larger = ht_heap_alloc(capacity, 16);
        if (!larger) {
            buffer.failed = true;
            return NULL;
        }
        if (buffer.used)
            memcpy(larger, buffer.bytes, buffer.used);
        ht_heap_free(buffer.bytes);
        buffer.bytes = larger;
        buffer.capacity = capacity;
    }
    void *place = buffer.bytes + buffer.used;
    memset(place, 0, size);
    buffer.used += size;
    return place;
}

static void put(const void *data, size_t size)
{
    void *place = reserve(size);
    if (place)
        memcpy(place, data, size);
}

static size_t begin_record(uint16_t type)
{
    size_t start = buffer.used;
    struct htl_record_header header = {.type = type};
    put(&header, sizeof header);
    return start;
}

/* Writes down the records that there are, ahead of those that come. */
static void go_ahead(void)
{
    struct ht_file *to = buffer.to;
    if (to->size + buffer.used > ht_settings.value[HT_OPT_MAX_FILE])
        buffer.full = true;
    if (!buffer.full && !buffer.error)
        buffer.error = ht_file_append(to, buffer.bytes, buffer.used);
    buffer.used = 0;
    if (to != &file || buffer.full || buffer.error)
        return;
    dirty = true;
    alerts_put = buffer.alerts;
}

static void end_record(size_t start)
{
    if (buffer.failed)
        return;
    struct htl_record_header *header = (struct htl_record_header *)(buffer.bytes + start);
    header->length = (uint32_t)(buffer.used - start - sizeof *header);
    header->crc = htl_crc32c(0, header, sizeof *header + header->length);
    reserve(-buffer.used % HTL_ALIGNMENT);
    if (buffer.to && buffer.used >= BUFFER_AHEAD)
        go_ahead();
}

static void put_header(void)
{
    const struct ht_module *program = ht_module(0);
    const char *exe = program && program->unwind.file.path ? program->unwind.file.path : "";
    struct utsname system = {.nodename = ""};
    uname(&system);
    struct htl_file_header header = {
        .version = HTL_VERSION,
        .machine = EM_X86_64,
        .compatible = HTL_COMPATIBLE_SITES,
        .pid = (uint32_t)getpid(),
        .parent_pid = (uint32_t)getppid(),
        .start_realtime_ns = start_realtime_ns,
        .start_monotonic_ns = start_monotonic_ns,
        .page_size = (uint32_t)sysconf(_SC_PAGESIZE),
        .exe_length = (uint16_t)strlen(exe),
        .host_length = (uint16_t)strlen(system.nodename),
        .pid_namespace = (uint32_t)ht_metrics_namespace(),
    };
    memcpy(header.magic, HTL_MAGIC, sizeof header.magic);
    size_t size = sizeof header + header.exe_length + header.host_length;
    header.header_size = (uint32_t)((size + HTL_ALIGNMENT - 1) / HTL_ALIGNMENT * HTL_ALIGNMENT);
    put(&header, sizeof header);
    put(exe, header.exe_length);
    put(system.nodename, header.host_length);
    reserve(header.header_size - size);
    if (!buffer.failed) {
        struct htl_file_header *placed = (struct htl_file_header *)buffer.bytes;
        placed->crc = htl_crc32c(0, placed, placed->header_size);
    }
}

/* What the system allows, as bytes that resident memory may come to (of the machine: may grow by),
 * so that a report can say which limit will be met first, and when. */
static void put_limits(void)
{
    static const struct {
        enum ht_limit_kind kind;
        const char *key;
        bool of_growth;
    } facts[] = {
        {HT_LIMIT_CGROUP, "limit-cgroup", false},
        {HT_LIMIT_ADDRESS_SPACE, "limit-address-space", false},
        {HT_LIMIT_AVAILABLE, "memory-available", true},
    };
    uint64_t resident = ht_resident_bytes();
    for (unsigned i = 0; i < sizeof facts / sizeof *facts && resident != HTL_UNKNOWN; i++) {
        struct ht_limit limit = ht_limit_of(facts[i].kind, "");
        char line[100];
        if (limit.kind == HT_LIMIT_NONE)
            continue;
        int length =
            snprintf(line, sizeof line, "%s=%llu\n", facts[i].key,
                     (unsigned long long)(limit.room + (facts[i].of_growth ? 0 : resident)));
        put(line, (size_t)length);
    }
}

/* Those in force, which may have been changed since the start. */
static void put_thresholds(void)
{
    char line[64];
    int length = snprintf(line, sizeof line, "threshold=%lluB",
                          (unsigned long long)ht_threshold(HTL_HISTORY_PROCESS));
    put(line, (size_t)length);
    for (uint32_t tag = 1; tag < HT_TAGS; tag++) {
        const struct ht_tag_entry *entry =
            ht_threshold(tag) == HT_NO_THRESHOLD ? NULL : ht_tag(tag);
        if (!entry)
            continue;
        put(";", 1);
        put(entry->name, entry->length);
        length = snprintf(line, sizeof line, "=%lluB", (unsigned long long)ht_threshold(tag));
        put(line, (size_t)length);
    }
    put("\n", 1);
}

static void put_option(enum ht_option_id id)
{
    const char *text = ht_settings.text[id];
    char line[100];
    if (!text)
        return;
    if (id == HT_OPT_THRESHOLD) {
        put_thresholds();
        return;
    }
    int length = snprintf(line, sizeof line, "%s=", ht_options[id].name);
    put(line, (size_t)length);
    for (; *text; text++) { /* the items of a list stand on one line here */
        char c = ht_option_is_separator(*text) ? ';' : *text;
        put(&c, 1);
    }
    put("\n", 1);
}

static void put_settings(void)
{
    size_t start = begin_record(HTL_SETTINGS);
    char line[600];
    int length = snprintf(line, sizeof line, "version=%s\nallocator=%s\nstatic-allocator=%d\n",
                          HEAPTALLY_VERSION, ht_real.chunk_layout_known ? "glibc" : "other",
                          ht_real.bypassed);
    put(line, (size_t)length);
    for (unsigned id = 0; id < HT_OPTION_COUNT; id++)
        put_option((enum ht_option_id)id);
    put_limits();
    end_record(start);
}

/* ---- dictionary: each entry before its first use ------------------------------------------------
 */

static void put_module(struct ht_module *module)
{
    if (!module || module->written)
        return;
    const struct module_file *from = &module->unwind.file;
    const char *path = from->path ? from->path : "[vdso]";
    struct htl_module record = {
        .id = module->id,
        .generation = module->generation,
        .flags = module->flags,
        .build_id_length = (uint16_t)from->build_id_length,
        .path_length = (uint16_t)strlen(path),
        .load_bias = module->unwind.load_bias,
        .start = module->unwind.start,
        .end = module->unwind.end,
    };
    size_t start = begin_record(HTL_MODULE);
    put(&record, sizeof record);
    put(from->build_id, record.build_id_length);
    put(path, record.path_length);
    put(module->soname, strlen(module->soname));
    end_record(start);
    module->written = true;
}

static bool is_named(uint32_t tag)
{
    return tags_written[tag / 8] & 1u << tag % 8;
}

static void put_tag(uint32_t tag)
{
    const struct ht_tag_entry *entry = ht_tag(tag);
    if (!entry || is_named(tag))
        return;
    struct htl_tag record = {.id = tag, .kind = entry->kind, .name_length = entry->length};
    size_t start = begin_record(HTL_TAG);
    put(&record, sizeof record);
    put(entry->name, entry->length);
    end_record(start);
    tags_written[tag / 8] |= (unsigned char)(1u << tag % 8);
}

/* Where it is noted that a stack is in the file: the bit `*mask` of a byte. NULL without memory:
 * then it is written again each time. */
static unsigned char *written_bit(uint32_t stack, unsigned char *mask)
{
    unsigned s = 0;
    if (stack < HT_STACK_ROOTS) {
        *mask = (unsigned char)(1u << stack);
        return &roots_written;
    }
    while (stack - ht_stacks.segments[s].base >= ht_stacks.segments[s].size)
        s++;
    stack -= ht_stacks.segments[s].base;
    *mask = (unsigned char)(1u << stack % 8);
    if (!stacks_written[s])
        stacks_written[s] = ht_heap_alloc(ht_stacks.segments[s].size / 8, 16);
    return stacks_written[s] ? &stacks_written[s][stack / 8] : NULL;
}

/* How the stack ends; writes its frames, innermost first, and how many there are. The modules that
 * they lie in go to the file. What is known of the frames is fetched first, all at once: they lie
 * in no order. */
static uint32_t gather_frames(uint32_t stack, struct htl_frame frames[HT_MAX_DEPTH],
                              uint32_t *count)
{
    static uint32_t ids[HT_MAX_DEPTH];
    uint32_t node = stack;
    for (*count = 0; node >= HT_STACK_ROOTS && *count < HT_MAX_DEPTH; node = ht_stack_outer(node)) {
        ids[*count] = ht_stack_frame(node);
        __builtin_prefetch(ht_intern_slot(&ht_frames, ids[(*count)++]));
    }
    for (uint32_t i = 0; i < *count; i++) {
        uint64_t info = ht_intern_slot(&ht_frames, ids[i])[2];
        struct ht_module *module =
            HT_INFO_HAS_MODULE(info) ? ht_module(HT_INFO_MODULE(info)) : NULL;
        put_module(module);
        frames[i] = (struct htl_frame){
            .module = module ? module->id : HTL_NO_MODULE,
            .offset = ht_frame_pc(ids[i]) - (module ? module->unwind.load_bias : 0),
        };
    }
    return ht_stack_root(node);
}

static bool is_in_file(uint32_t stack)
{
    unsigned char mask, *bits = written_bit(stack, &mask);
    return bits && *bits & mask;
}

static void put_stack(uint32_t stack)
{
    static struct htl_frame frames[HT_MAX_DEPTH]; /* much for a thread's stack */
    unsigned char mask, *bits = written_bit(stack, &mask);
    if (bits && *bits & mask)
        return;
    uint32_t count, root = gather_frames(stack, frames, &count);
    struct htl_stack record = {
        .id = stack,
        .flags = root == HT_STACK_CUT     ? HTL_STACK_CUT
                 : root == HT_STACK_WHOLE ? 0
                                          : HTL_STACK_FALLBACK,
        .frame_count = count,
        .frame_size = sizeof(struct htl_frame),
    };
    size_t start = begin_record(HTL_STACK);
    put(&record, sizeof record);
    put(frames, count * sizeof *frames);
    end_record(start);
    if (bits)
        *bits |= mask;
}

/* Has what putting the stacks of these sites, HT_STACKS_FETCHED at most, goes through fetched. */
static void fetch_stacks(const uint32_t *sites, uint32_t count)
{
    uint32_t stacks[HT_STACKS_FETCHED];
    unsigned wanted = 0;
    for (uint32_t i = 0; i < count && i < HT_STACKS_FETCHED; i++) {
        uint32_t stack =
            ht_site_is_provisional(sites[i]) ? HT_STACK_TAG_ONLY : ht_site_stack(sites[i]);
        if (stack >= HT_STACK_ROOTS && !is_in_file(stack))
            stacks[wanted++] = stack;
    }
    ht_stacks_fetch(stacks, wanted, HT_MAX_DEPTH);
}

static void put_site(uint32_t site, struct ht_site_view *view)
{
    if (view->written_tag == view->tag && view->tag != 0)
        return;
    uint32_t stack = ht_site_stack(site);
    put_stack(stack);
    put_tag(view->tag);
    struct htl_site record = {.id = site, .stack = stack, .tag = view->tag};
    record.flags = ht_scope_owner(ht_site_tag(site)) ? HTL_SITE_EXPLICIT : 0;
    record.region = (uint16_t)view->region;
    size_t start = begin_record(HTL_SITE);
    put(&record, sizeof record);
    end_record(start);
    view->written_tag = view->tag;
}

/* What regions without allocations came to, where that is new. */
static void put_regions(void)
{
    for (uint32_t i = 0; i < ht_sums.tag_count; i++) {
        uint32_t region = ht_sums.tags[i];
        struct ht_tag_view *view = ht_tag_view(region);
        const struct ht_tag_entry *entry = ht_tag(region);
        if (!entry || view->forbidden_blocks == view->written_forbidden_blocks)
            continue;
        struct htl_region record = {
            .id = (uint16_t)region,
            .name_length = entry->length,
            .allocations = view->forbidden_blocks,
            .bytes = view->forbidden_bytes,
        };
        size_t start = begin_record(HTL_REGION);
        put(&record, sizeof record);
        put(entry->name, entry->length);
        end_record(start);
        view->written_forbidden_blocks = view->forbidden_blocks;
    }
}

/* After this everything is written anew. */
static void forget_dictionary(void)
{
    struct ht_module *module;
    for (uint32_t id = 0; (module = ht_module(id)); id++)
        module->written = false;
    memset(tags_written, 0, sizeof tags_written);
    for (uint32_t i = 0; i < ht_sums.tag_count; i++)
        ht_tag_view(ht_sums.tags[i])->written_forbidden_blocks = 0;
    for (unsigned i = 0; i < HT_INTERN_SEGMENTS; i++)
        if (stacks_written[i])
            memset(stacks_written[i], 0, ht_stacks.segments[i].size / 8);
    roots_written = 0;
    looked_ahead = 0;
    for (uint32_t i = 0; i < ht_sums.site_count; i++) {
        struct ht_site_view *view = ht_site_view_at(i);
        view->written_tag = 0;
        memset(&view->written, 0, sizeof view->written);
    }
    all_due = true;
}

/* ---- which sites a tick lists -------------------------------------------------------------------
 */

static struct choice {
    uint64_t behind;
    uint32_t place; /* in the list of sites */
} * chosen;         /* room for all sites */
static uint32_t chosen_count, chosen_capacity;

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* How much of a figure, which does not fall, is not in the file yet. */
static uint64_t since(uint64_t now, uint64_t written)
{
    return now > written ? now - written : 0;
}

/* How much the file is behind on a site: by live bytes first, so that what grows slowly under much
 * traffic comes up in the end; where nothing was to be allocated, all traffic counts as much. */
static uint64_t behind(const struct ht_site_view *view)
{
    uint64_t live = distance(ht_live_bytes(&view->now), ht_live_bytes(&view->written));
    uint64_t traffic = since(view->now.allocated_bytes, view->written.allocated_bytes);
    return live * 64 + traffic * (view->region ? 64 : 1);
}

/* Whether the site at a place of the list is listed, once it has figures. */
static bool stands_for_itself(uint32_t place)
{
    const struct ht_site_view *view = ht_site_view_at(place);
    uint32_t site = ht_sums.sites[place];
    return view->canonical == site && !ht_site_is_provisional(site) && view->tag != 0;
}

static bool is_reported(uint32_t place)
{
    const struct ht_site_view *view = ht_site_view_at(place);
    return stands_for_itself(place) &&
           (view->now.allocated_blocks || view->written.allocated_blocks);
}

static void swap(uint32_t i, uint32_t j)
{
    struct choice kept = chosen[i];
    chosen[i] = chosen[j];
    chosen[j] = kept;
}

/* Brings those that the file is most behind on to the front, `wanted` of them, in no order. */
static void most_first(uint32_t wanted)
{
    uint32_t low = 0, high = chosen_count; /* where the border between them still has to be found */
    while (high - low > 1) {
        uint64_t middle = chosen[low + (high - low) / 2].behind;
        uint32_t more = low, i = low, less = high; /* above `middle`; equal to it up to i; below */
        while (i < less) {
            if (chosen[i].behind > middle)
                swap(i++, more++);
            else if (chosen[i].behind < middle)
                swap(i, --less);
            else
                i++;
        }
        if (wanted < more)
            high = more;
        else if (wanted > less)
            low = less;
        else
            return;
    }
}

/* How many sites may be listed. All of them must fit a file that is written anew; where this one
 * has its dictionary already, it has room for more. */
static uint32_t most_sites(bool all)
{
    uint64_t cap = ht_settings.value[HT_OPT_MAX_FILE], anew = cap / 2 / SITE_COST, here = 0;
    uint64_t taken = (uint64_t)(ht_sums.site_count - looked_ahead) * SITE_COST;
    if (buffer.to == &file)
        taken += file.size + buffer.used;
    if (buffer.to == &file && taken < cap)
        here = (cap - taken) / KNOWN_SITE_COST;
    uint64_t most = here > anew ? here : anew;
    if (!all || most < MAX_TICK_SITES)
        return MAX_TICK_SITES;
    return most < ht_sums.site_count ? (uint32_t)most : ht_sums.site_count;
}

/* Chooses the sites to list; what does not fit is stated in the tick. */
static void choose_sites(bool all, struct htl_tick *tick)
{
    if (chosen_capacity < ht_sums.site_count) {
        ht_heap_free(chosen);
        uint32_t capacity = ht_sums.site_count + ht_sums.site_count / 4;
        chosen = ht_heap_alloc(capacity * sizeof *chosen, 16);
        chosen_capacity = chosen ? capacity : 0;
    }
    chosen_count = 0;
    for (uint32_t i = 0; chosen && i < ht_sums.site_count; i++) {
        const struct ht_site_view *view = ht_site_view_at(i);
        if (is_reported(i) && (all || memcmp(&view->now, &view->written, sizeof view->now) != 0))
            chosen[chosen_count++].place = i;
    }
    uint32_t limit = most_sites(all);
    if (chosen_count <= limit)
        return;
    if (all) /* who reads it takes what is not listed for nothing: the largest sites, then */
        for (uint32_t i = 0; i < chosen_count; i++)
            memset(&ht_site_view_at(chosen[i].place)->written, 0, sizeof(struct htl_figures));
    for (uint32_t i = 0; i < chosen_count; i++)
        chosen[i].behind = behind(ht_site_view_at(chosen[i].place));
    most_first(limit);
    for (uint32_t i = limit; i < chosen_count; i++) {
        const struct ht_site_view *view = ht_site_view_at(chosen[i].place);
        tick->left_out_bytes += since(view->now.allocated_bytes, view->written.allocated_bytes) +
                                since(view->now.freed_bytes, view->written.freed_bytes);
    }
    tick->left_out_sites = chosen_count - limit;
    chosen_count = limit;
}

/* ---- ticks --------------------------------------------------------------------------------------
 */

static bool tag_changed(uint32_t tag)
{
    const struct ht_tag_view *view = ht_tag_view(tag);
    return memcmp(&view->now, &view->written, sizeof view->now) != 0 ||
           view->written_instantiations != ht_tag_instantiations(tag) ||
           view->written_cycles != ht_tag_cycles(tag) || !is_named(tag);
}

static void put_tag_figures(uint32_t tag)
{
    struct ht_tag_view *view = ht_tag_view(tag);
    struct htl_tag_figures figures = {
        .tag = tag,
        .figures = view->now,
        .low_bytes = ht_lowest(view->low_bytes, &view->now),
        .peak_bytes = view->peak_bytes,
        .instantiations = ht_tag_instantiations(tag),
        .cycles = ht_tag_cycles(tag),
    };
    put(&figures, sizeof figures);
    view->written = view->now;
    view->written_instantiations = figures.instantiations;
    view->written_cycles = figures.cycles;
}

/* Those of all chosen sites. */
static void put_site_figures(void)
{
    struct htl_site_figures *figures = reserve(chosen_count * sizeof *figures);
    for (uint32_t i = 0; figures && i < chosen_count; i++) {
        struct ht_site_view *view = ht_site_view_at(chosen[i].place);
        figures[i].site = ht_sums.sites[chosen[i].place];
        figures[i].figures = view->now;
        view->written = view->now;
    }
}

#define SITES_BETWEEN_ANSWERS 64u /* as many new stacks may be long to write */
_Static_assert(SITES_BETWEEN_ANSWERS % HT_STACKS_FETCHED == 0, "whole groups");

/* The chosen sites that the file does not know yet. */
static void put_chosen_sites(void)
{
    uint32_t sites[HT_STACKS_FETCHED];
    for (uint32_t done = 0, count; done < chosen_count; done += count) {
        if (done % SITES_BETWEEN_ANSWERS == 0)
            ht_unwind_answer();
        for (count = 0; count < HT_STACKS_FETCHED && done + count < chosen_count; count++)
            sites[count] = ht_sums.sites[chosen[done + count].place];
        fetch_stacks(sites, count);
        for (uint32_t i = 0; i < count; i++)
            put_site(sites[i], ht_site_view_at(chosen[done + i].place));
    }
}

/* A TICK, or a SNAPSHOT if `all`, with the dictionary entries that it needs before it. */
static void put_tick(bool all, uint32_t flags)
{
    struct htl_tick tick = {
        .sequence = sequence,
        .monotonic_ns = ht_now_ns(),
        .realtime_ns = ht_realtime_ns(),
        .flags = flags,
        .rss_bytes = ht_resident_bytes(),
        .total = ht_sums.total,
        .fallback = ht_sums.fallback,
        .foreign_frees = ht_oddities.foreign_frees,
        .foreign_bytes = ht_oddities.foreign_bytes,
        .suspected_overruns = ht_oddities.suspected_overruns,
        .own_bytes = ht_heap_mapped(),
        .dropped_ticks = dropped_ticks,
        .truncated = ht_oddities.truncated,
        .tag_size = sizeof(struct htl_tag_figures),
        .site_size = sizeof(struct htl_site_figures),
    };
    static uint32_t tags[HT_TAGS];
    for (uint32_t i = 0; i < ht_sums.tag_count; i++) {
        uint32_t tag = ht_sums.tags[i];
        if (ht_tag_view(tag)->used && (all || tag_changed(tag)))
            tags[tick.tag_count++] = tag;
    }
    put_regions();
    choose_sites(all, &tick);
    tick.site_count = chosen_count;
    for (uint32_t i = 0; i < tick.tag_count; i++)
        put_tag(tags[i]);
    put_chosen_sites();
    size_t start = begin_record(all ? HTL_SNAPSHOT : HTL_TICK);
    put(&tick, sizeof tick);
    for (uint32_t i = 0; i < tick.tag_count; i++)
        put_tag_figures(tags[i]);
    put_site_figures();
    end_record(start);
    if (all)
        all_due = false;
}

static void put_end(uint32_t reason)
{
    struct htl_end end = {ht_now_ns(), ht_realtime_ns(), reason, 0};
    size_t start = begin_record(HTL_END);
    put(&end, sizeof end);
    end_record(start);
}

/* `step`: how many points become one. */
static void put_history(uint32_t subject, uint32_t step)
{
    const struct ht_history *history = ht_history(subject);
    if (!history)
        return;
    struct htl_history record = {
        .subject = subject,
        .point_count = (history->count + step - 1) / step,
        .point_size = sizeof *history->points,
    };
    size_t start = begin_record(HTL_HISTORY);
    put(&record, sizeof record);
    struct htl_history_point *points = reserve(record.point_count * sizeof *points);
    if (points)
        ht_history_thinned(history, step, points);
    end_record(start);
}

static void put_top_histories(void)
{
    for (uint32_t i = 0; i < HT_TOP_SITES; i++) {
        const struct ht_top_site *top = ht_top_site(i);
        if (!top || !top->history || !top->history->count)
            continue;
        const struct ht_history *history = top->history;
        struct htl_history record = {
            .subject = top->site,
            .flags = HTL_HISTORY_SITE,
            .point_count = history->count,
            .point_size = sizeof *history->points,
        };
        put_site(top->site, ht_site_view(top->site));
        size_t start = begin_record(HTL_HISTORY);
        put(&record, sizeof record);
        put(history->points, history->count * sizeof *history->points);
        end_record(start);
    }
}

/* Alerts with a higher number than `last` that are still kept. Those of a tick that is dropped come
 * with the next. */
static void put_alerts_after(uint64_t last)
{
    uint64_t lost = ht_alert_count() > HT_ALERTS_KEPT ? ht_alert_count() - HT_ALERTS_KEPT : 0;
    for (uint64_t number = (last > lost ? last : lost) + 1; number <= ht_alert_count(); number++) {
        const struct ht_alert *alert = ht_alert(number);
        if (!alert)
            continue;
        struct htl_alert record = {
            .monotonic_ns = alert->monotonic_ns,
            .realtime_ns = alert->realtime_ns,
            .tag = alert->tag,
            .kind = (uint16_t)alert->kind,
            .state = (uint8_t)alert->state,
            .severity = (uint8_t)alert->severity,
            .value_mb = alert->value_mb,
            .threshold_mb = alert->threshold_mb,
            .rss_mb = alert->rss_mb,
            .growth_mb = alert->growth_mb,
            .message_length = (uint32_t)strlen(alert->message),
        };
        if (alert->tag < HT_TAGS && alert->kind != HEAPTALLY_ALERT_NO_ALLOC)
            put_tag(alert->tag);
        size_t start = begin_record(HTL_ALERT);
        put(&record, sizeof record);
        put(alert->message, record.message_length);
        buffer.alerts = number;
        end_record(start);
    }
}

/* By how much histories are thinned so that all of them take no more than a quarter of the file. */
static uint32_t history_step(void)
{
    uint64_t points = 0, room = ht_settings.value[HT_OPT_MAX_FILE] / 4;
    for (uint32_t tag = 0; tag <= HT_TAGS; tag++)
        points += ht_history(tag) ? ht_history(tag)->count : 0;
    uint32_t step = 1;
    while (step < HT_HISTORY_POINTS && points / step * sizeof(struct htl_history_point) > room)
        step *= 2;
    return step;
}

/* ---- the file -----------------------------------------------------------------------------------
 */

/* Begins a write from nothing, of which whole records may go ahead to a file, if any. */
static void begin_records(struct ht_file *to)
{
    buffer.used = 0;
    buffer.failed = buffer.full = false;
    buffer.error = 0;
    buffer.to = to;
    buffer.alerts = alerts_put;
}

/* Lets records of a tick, behind what is in the buffer already, go ahead to the file. */
static void may_go_ahead(void)
{
    buffer.to = &file;
    buffer.alerts = alerts_put;
}

/* What becomes of a write: a tick that is not in the file is counted, and said once. */
static bool written(const struct ht_file *to, int error)
{
    begin_records(NULL);
    if (buffer.capacity > BUFFER_KEPT) { /* a whole file was in it */
        ht_heap_free(buffer.bytes);
        buffer.bytes = NULL;
        buffer.capacity = 0;
    }
    if (error == 0) {
        dirty = true;
        failing = refused_ahead = false;
        alerts_put = ht_alert_count();
        return true;
    }
    dropped_ticks++;
    if (!failing)
        ht_say("%s: cannot be written to (%s); the program goes on, ticks are dropped until it can",
               to->path, ht_error_words(-error));
    failing = true;
    forget_dictionary(); /* what was in the buffer is not in the file */
    return false;
}

/* Writes what is left in the buffer to a file. */
static int append_rest(struct ht_file *to)
{
    if (buffer.failed || buffer.error)
        return buffer.failed ? -ENOMEM : buffer.error;
    return ht_file_append(to, buffer.bytes, buffer.used);
}

/* Writes the buffer to the file and empties it. */
static bool flush(void)
{
    return written(&file, append_rest(&file));
}

/* Whether the file has no room for what is in the buffer, and for what was left out of it. */
static bool is_over(const struct ht_file *to)
{
    return buffer.full || to->size + buffer.used > ht_settings.value[HT_OPT_MAX_FILE];
}

/* The whole file anew, from memory. */
static void put_everything(struct ht_file *fresh, bool final, uint32_t end_reason)
{
    uint32_t step = history_step();
    begin_records(fresh);
    forget_dictionary();
    put_header();
    put_settings();
    put_history(HTL_HISTORY_PROCESS, step);
    for (uint32_t tag = 1; tag < HT_TAGS; tag++) {
        if (!ht_history(tag))
            continue;
        put_tag(tag);
        put_history(tag, step);
    }
    put_top_histories();
    put_alerts_after(0);
    put_tick(true, final ? HTL_TICK_FINAL : 0);
    if (final)
        put_end(end_reason);
}

/* Writes a file anew that has no room for the tick, and puts it in place of the old one. Where that
 * cannot be, the tick is dropped: the cap holds. */
static void rewrite(bool final, uint32_t end_reason)
{
    struct ht_file fresh;
    int error = ht_file_create_beside(&fresh, &file);
    if (error == 0) {
        put_everything(&fresh, final, end_reason);
        error = is_over(&fresh) ? -EFBIG : append_rest(&fresh);
        if (error == 0)
            error = ht_file_replace(&fresh, &file);
        if (error == 0) {
            file = fresh;
        } else {
            unlink(fresh.path);
            ht_file_close(&fresh);
        }
    }
    written(&file, error);
}

/* The samples may have seen more than there is now. */
static uint64_t highest(const struct ht_tag_view *view)
{
    uint64_t live = ht_live_bytes(&view->now), low = ht_lowest(view->low_bytes, &view->now);
    return live > low ? live : low;
}

static void add_to_histories(void)
{
    uint64_t t = ht_now_ns() - start_monotonic_ns, resident = ht_resident_bytes();
    struct htl_history_point point = {
        .t_ns = t,
        .low_bytes = resident,
        .high_bytes = resident,
        .allocated_bytes = ht_sums.total.allocated_bytes,
        .allocated_blocks = ht_sums.total.allocated_blocks,
        .freed_blocks = ht_sums.total.freed_blocks,
        .instantiations = HTL_UNKNOWN,
        .cycles = HTL_UNKNOWN,
    };
    ht_history_add(HTL_HISTORY_PROCESS, &point);
    for (uint32_t tag = 1; tag < HT_TAGS; tag++) {
        const struct ht_tag_view *view = ht_tag_view(tag);
        if (!view->used)
            continue;
        point.low_bytes = ht_lowest(view->low_bytes, &view->now);
        point.high_bytes = highest(view);
        point.allocated_bytes = view->now.allocated_bytes;
        point.allocated_blocks = view->now.allocated_blocks;
        point.freed_blocks = view->now.freed_blocks;
        point.instantiations = ht_tag_instantiations(tag);
        point.cycles = ht_tag_cycles(tag);
        ht_history_add(tag, &point);
    }
}

void ht_snapshot_begin(void)
{
    if (!getcwd(start_directory, sizeof start_directory))
        start_directory[0] = '\0';
}

bool ht_snapshot_open(void)
{
    start_realtime_ns = ht_realtime_ns();
    start_monotonic_ns = ht_now_ns();
    sequence = dropped_ticks = alerts_put = 0;
    ht_history_forget();
    ht_top_sites_restart(start_monotonic_ns);
    const char *pattern = ht_settings.text[HT_OPT_OUTPUT];
    const struct ht_module *program = ht_module(0);
    const char *name = program ? program->base : "unknown";
    int error = ht_file_create(&file, start_directory, pattern, name, start_realtime_ns);
    if (error) {
        ht_say("%s: cannot be created (%s); nothing is written. Name another file with --output",
               pattern, ht_error_words(-error));
        return false;
    }
    if (ht_settings.given[HT_OPT_KEEP])
        ht_file_prune(&file, pattern, name, ht_settings.value[HT_OPT_KEEP]);
    forget_dictionary();
    put_header();
    put_settings();
    return flush();
}

void ht_snapshot_tick(bool final, uint32_t end_reason)
{
    sequence++;
    add_to_histories();
    if (file.path[0]) {
        may_go_ahead();
        put_alerts_after(alerts_put);
        if (final || ht_top_sites_are_due())
            put_top_histories();
        put_tick(final || all_due, (final ? HTL_TICK_FINAL : 0) | (resumed ? HTL_TICK_RESUMED : 0));
        resumed = false;
        if (final)
            put_end(end_reason);
        if (is_over(&file))
            rewrite(final, end_reason);
        else
            flush();
    }
    if (!final) /* there is none to begin */
        ht_aggregate_tick_done();
}

/* Whether the file has room to spare: the last quarter is for ticks. */
static bool has_room_ahead(void)
{
    return file.path[0] && file.size + buffer.used < ht_settings.value[HT_OPT_MAX_FILE] / 4 * 3;
}

void ht_snapshot_ahead(void)
{
    if (refused_ahead || failing || ht_sums.site_count - looked_ahead < MANY_AHEAD ||
        !has_room_ahead())
        return;
    may_go_ahead();
    for (uint32_t i = 1; i <= MANY_AHEAD && has_room_ahead(); i++) {
        uint32_t place = looked_ahead++;
        if (place % HT_STACKS_FETCHED == 0)
            fetch_stacks(ht_sums.sites + place, ht_sums.site_count - place);
        if (stands_for_itself(place))
            put_stack(ht_site_stack(ht_sums.sites[place]));
        if (i % SITES_BETWEEN_ANSWERS == 0)
            ht_unwind_answer();
    }
    refused_ahead = buffer.full || append_rest(&file) != 0;
    begin_records(NULL);
    if (refused_ahead)
        forget_dictionary(); /* as where a tick cannot be written, which the next one will say */
    else
        dirty = true;
}

uint64_t ht_snapshot_start_ns(void)
{
    return start_monotonic_ns;
}

void ht_snapshot_resumed(void)
{
    resumed = true;
}

void ht_snapshot_settings(void)
{
    if (file.path[0])
        put_settings();
}

bool ht_snapshot_all(void)
{
    if (!file.path[0])
        return false;
    may_go_ahead();
    put_alerts_after(alerts_put);
    put_top_histories();
    put_tick(true, 0);
    if (is_over(&file))
        rewrite(false, 0);
    else
        flush();
    return !failing;
}

void ht_snapshot_sync(void)
{
    if (dirty)
        ht_file_sync(&file);
    dirty = false;
}

void ht_snapshot_forget(void)
{
    ht_file_close(&file);
    file = (struct ht_file){.fd = -1};
    begin_records(NULL);
    dirty = failing = false;
}

const char *ht_snapshot_path(void)
{
    return file.path;
}
