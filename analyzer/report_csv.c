/*
 * The recorded past as a table (RFC 4180, lines end with LF): a row for each tick of the process,
 * whose tag is empty, then for each controller a row for each tick in which it changed. Where the
 * past was thinned, a row stands for the span up to the next one: `low_bytes` is the lowest of it,
 * `high_bytes` the highest. What is not known is empty.
 */
#include "report.h"

#include <inttypes.h>
#include <stdlib.h>

#include "heaptally/units.h"
#include "text.h"

static void put_text(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            putc('"', out);
        putc(*text, out);
    }
    putc('"', out);
}

static void put_figure(FILE *out, uint64_t value)
{
    putc(',', out);
    if (value != HTL_UNKNOWN)
        fprintf(out, "%" PRIu64, value);
}

/* A moment of the process's past, by both clocks, in seconds. */
static void put_time(FILE *out, const struct ht_profile *p, uint64_t t_ns)
{
    uint64_t real = p->start.start_realtime_ns + t_ns;
    fprintf(out, "%" PRIu64 ".%09" PRIu64 ",%" PRIu64 ".%09" PRIu64 ",", t_ns / HT_SECOND,
            t_ns % HT_SECOND, real / HT_SECOND, real % HT_SECOND);
}

static uint64_t live_blocks(const struct htl_history_point *point)
{
    bool known = point->allocated_blocks != HTL_UNKNOWN && point->freed_blocks != HTL_UNKNOWN &&
                 point->freed_blocks <= point->allocated_blocks;
    return known ? point->allocated_blocks - point->freed_blocks : HTL_UNKNOWN;
}

/* `tag` is NULL for the process, whose points hold resident bytes where others hold live ones. */
static void put_past(FILE *out, const struct ht_profile *p, const struct ht_tag *tag)
{
    const struct ht_past *past = tag ? &tag->past : &p->process;
    for (size_t i = 0; i < past->count; i++) {
        const struct htl_history_point *point = &past->points[i];
        put_time(out, p, point->t_ns);
        if (tag)
            put_text(out, tag->name);
        put_figure(out, tag ? point->low_bytes : HTL_UNKNOWN);
        put_figure(out, tag ? point->high_bytes : HTL_UNKNOWN);
        put_figure(out, live_blocks(point));
        put_figure(out, point->allocated_bytes);
        put_figure(out, point->allocated_blocks);
        put_figure(out, point->instantiations);
        put_figure(out, point->cycles);
        put_figure(out, tag ? HTL_UNKNOWN : point->high_bytes);
        putc('\n', out);
    }
}

void ht_write_csv(const struct ht_report *r, const struct ht_report_style *style, FILE *out)
{
    (void)style;
    fputs("seconds,unix_time,tag,low_bytes,high_bytes,live_blocks,allocated_bytes,"
          "allocated_blocks,instantiations,cycles,resident_bytes\n",
          out);
    put_past(out, r->profile, NULL);
    for (size_t i = 0; i < r->controller_count; i++)
        put_past(out, r->profile, r->controllers[i].tag);
}
